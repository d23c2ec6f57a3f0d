package settings

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// envPrefixes begin the variables that are meant for a control plane, this one or another. A variable with one of them
// that is no setting is a typing error, or something that we cannot do; either way it must not be passed over.
var envPrefixes = [...]string{
	"KUMA_ACCESS_", "KUMA_ADMIN_SERVER_", "KUMA_API_SERVER_", "KUMA_BOOTSTRAP_SERVER_", "KUMA_DEFAULTS_",
	"KUMA_DIAGNOSTICS_", "KUMA_DNS_SERVER_", "KUMA_DP_SERVER_", "KUMA_ENVIRONMENT", "KUMA_EXPERIMENTAL_",
	"KUMA_GENERAL_", "KUMA_INTER_CP_", "KUMA_METRICS_", "KUMA_MODE", "KUMA_MONITORING_ASSIGNMENT_SERVER_",
	"KUMA_MULTIZONE_", "KUMA_RUNTIME_", "KUMA_SDS_SERVER_", "KUMA_STORE_", "KUMA_XDS_",
}

// parseEnviron splits what [os.Environ] gives. An empty variable counts as none.
func parseEnviron(environ []string) map[string]string {
	env := map[string]string{}
	for _, e := range environ {
		if name, value, _ := strings.Cut(e, "="); value != "" {
			env[name] = value
		}
	}
	return env
}

// applyEnv sets what the variables say, and refuses those that are for a control plane but no setting of this one.
func applyEnv(c *Config, env map[string]string) error {
	var known []string
	err := eachSetting(reflect.ValueOf(c).Elem(), func(name string, v reflect.Value) error {
		known = append(known, name)
		text, ok := env[name]
		if !ok {
			return nil
		}
		if err := setText(v, text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var unknown []string
	for name := range env {
		if ownPrefix(name) != "" && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return unknownVariable(unknown[0], known)
}

func unknownVariable(name string, known []string) error {
	prefix := ownPrefix(name)
	var near []string
	for _, k := range known {
		if strings.HasPrefix(k, prefix) {
			near = append(near, k)
		}
	}
	if len(near) == 0 {
		return fmt.Errorf("%s: no such setting; unset it", name)
	}
	return fmt.Errorf("%s: no such setting; unset it, or use one of %s", name, strings.Join(near, ", "))
}

func ownPrefix(name string) string {
	for _, p := range envPrefixes {
		if strings.HasPrefix(name, p) {
			return p
		}
	}
	return ""
}

// eachSetting calls do for every field below v that has an env tag.
func eachSetting(v reflect.Value, do func(name string, v reflect.Value) error) error {
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Tag.Get("env"), v.Field(i)
		var err error
		switch {
		case name != "":
			err = do(name, field)
		case field.Kind() == reflect.Struct:
			err = eachSetting(field, do)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setText sets a setting to what the text says.
func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	default:
		return fmt.Errorf("a setting of type %s cannot come from the environment", v.Type())
	}
	return nil
}
