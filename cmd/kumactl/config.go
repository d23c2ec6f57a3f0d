package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// defaultAddress is where the control plane of the first run is.
const defaultAddress = "http://localhost:5681"

// config is the configuration file: the control planes that the user knows, and a context, of the same name, for each.
type config struct {
	ControlPlanes  []controlPlane `json:"controlPlanes,omitempty"`
	Contexts       []kumaContext  `json:"contexts,omitempty"`
	CurrentContext string         `json:"currentContext,omitempty"`
}

type controlPlane struct {
	Name        string      `json:"name"`
	Coordinates coordinates `json:"coordinates"`
}

type coordinates struct {
	APIServer apiServer `json:"apiServer"`
}

type apiServer struct {
	URL            string       `json:"url"`
	CACertFile     string       `json:"caCertFile,omitempty"`
	ClientCertFile string       `json:"clientCertFile,omitempty"`
	ClientKeyFile  string       `json:"clientKeyFile,omitempty"`
	Headers        []httpHeader `json:"headers,omitempty"`
	SkipVerify     bool         `json:"skipVerify,omitempty"`
}

type kumaContext struct {
	Name         string       `json:"name"`
	ControlPlane string       `json:"controlPlane"`
	Credentials  *credentials `json:"credentials,omitempty"`
	Defaults     *defaults    `json:"defaults,omitempty"`
}

// defaults is what Kuma's files may have. It goes by them as little.
type defaults struct {
	Mesh string `json:"mesh,omitempty"`
}

type credentials struct {
	AdminAPI *adminAPI `json:"adminApi,omitempty"`
}

// defaultConfig is the configuration of who has none.
func defaultConfig() *config {
	cfg := new(config)
	cfg.add("local", target{apiServer: apiServer{URL: defaultAddress}})
	return cfg
}

// add puts the control plane in, or in the place of the one of that name, and makes it the current one.
func (cfg *config) add(name string, t target) {
	cfg.remove(name)
	ctx := kumaContext{Name: name, ControlPlane: name}
	if t.admin != nil {
		ctx.Credentials = &credentials{t.admin}
	}
	cfg.ControlPlanes = append(cfg.ControlPlanes, controlPlane{name, coordinates{t.apiServer}})
	cfg.Contexts = append(cfg.Contexts, ctx)
	cfg.CurrentContext = name
}

// remove takes the control plane and its contexts out. If one of them was the current one, the first that is left is.
func (cfg *config) remove(name string) {
	cfg.ControlPlanes = slices.DeleteFunc(cfg.ControlPlanes, func(cp controlPlane) bool { return cp.Name == name })
	cfg.Contexts = slices.DeleteFunc(cfg.Contexts, func(c kumaContext) bool { return c.ControlPlane == name })
	if cfg.contextOf(cfg.CurrentContext) == nil {
		cfg.CurrentContext = ""
		if len(cfg.Contexts) > 0 {
			cfg.CurrentContext = cfg.Contexts[0].Name
		}
	}
}

// use makes the control plane the active one.
func (cfg *config) use(name string) error {
	i := slices.IndexFunc(cfg.Contexts, func(c kumaContext) bool { return c.ControlPlane == name })
	if i < 0 {
		return fmt.Errorf("there is no context for the Control Plane %q", name)
	}
	cfg.CurrentContext = cfg.Contexts[i].Name
	return nil
}

func (cfg *config) contextOf(name string) *kumaContext {
	i := slices.IndexFunc(cfg.Contexts, func(c kumaContext) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &cfg.Contexts[i]
}

func (cfg *config) controlPlane(name string) *controlPlane {
	i := slices.IndexFunc(cfg.ControlPlanes, func(cp controlPlane) bool { return cp.Name == name })
	if i < 0 {
		return nil
	}
	return &cfg.ControlPlanes[i]
}

// active is the control plane of the current context, nil if there is none.
func (cfg *config) active() *controlPlane {
	ctx := cfg.contextOf(cfg.CurrentContext)
	if ctx == nil {
		return nil
	}
	return cfg.controlPlane(ctx.ControlPlane)
}

// target is the control plane of the named context, "" standing for the current context.
func (cfg *config) target(context string) (target, error) {
	if context == "" {
		context = cfg.CurrentContext
	}
	if context == "" {
		return target{}, errors.New("no control plane is chosen: add one with 'kumactl config control-planes add --name NAME --address URL'")
	}
	ctx := cfg.contextOf(context)
	if ctx == nil {
		return target{}, fmt.Errorf("there is no context %q: 'kumactl config view' shows those there are", context)
	}
	cp := cfg.controlPlane(ctx.ControlPlane)
	if cp == nil {
		return target{}, fmt.Errorf("context %q names the control plane %q, which does not exist: 'kumactl config control-planes list' shows those there are", context, ctx.ControlPlane)
	}
	t := target{apiServer: cp.Coordinates.APIServer, name: cp.Name}
	if ctx.Credentials != nil {
		t.admin = ctx.Credentials.AdminAPI
	}
	return t, nil
}

// parseAddress checks the address of a control plane.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("%q is not the address of a control plane: it must look like %s", address, defaultAddress)
	case u.User != nil:
		return nil, errors.New("the address of a control plane must not hold a user name or password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the address %q must end after the path", address)
	}
	return u, nil
}
