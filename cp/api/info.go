package api

import (
	"cmp"
	"net"
	"net/http"
	"os"
	"strconv"

	"koguma/cp/settings"
	"koguma/policy"
)

// product is who we say we are to clients that ask before they talk to us.
const product = "Koguma"

type indexBody struct {
	Hostname   string `json:"hostname"`
	Product    string `json:"product"`
	Version    string `json:"version"`
	InstanceID string `json:"instanceId"`
	GUI        string `json:"gui"` // where the page is, or how to have it
}

func (a *API) index(*http.Request) (answer, error) {
	host, err := os.Hostname()
	if err != nil {
		return answer{}, err
	}
	page := "the page is at /gui"
	if a.guiTurnedOff() != nil {
		page = guiOff
	}
	return answer{body: indexBody{Hostname: host, Product: product, Version: a.Version, InstanceID: a.InstanceID, GUI: page}}, nil
}

// catalogBody tells agents that know only the API where the rest is.
type catalogBody struct {
	APIs struct {
		Bootstrap struct {
			URL string `json:"url"`
		} `json:"bootstrap"`
		// DataplaneToken is there while proxies need a token: agents go by that.
		DataplaneToken *adminAPI `json:"dataplaneToken,omitempty"`
		Admin          adminAPI  `json:"admin"`
	} `json:"apis"`
}

// adminAPI is where the admin server is, for this machine and for others.
type adminAPI struct {
	LocalURL  string `json:"localUrl"`
	PublicURL string `json:"publicUrl,omitempty"`
}

func (a *API) catalog(r *http.Request) (answer, error) {
	host := cmp.Or(a.Config.General.AdvertisedHostname, HostOnly(r.Host), "localhost")
	var body catalogBody
	body.APIs.Bootstrap.URL = "https://" + net.JoinHostPort(host, strconv.Itoa(a.DPPort))
	body.APIs.Admin.LocalURL = "http://" + net.JoinHostPort("localhost", strconv.Itoa(a.AdminPort))
	if a.PublicPort != 0 {
		body.APIs.Admin.PublicURL = "https://" + net.JoinHostPort(host, strconv.Itoa(a.PublicPort))
	}
	if a.Config.AuthnType() == settings.AuthnDPToken {
		body.APIs.DataplaneToken = &body.APIs.Admin
	}
	return answer{body: body}, nil
}

// config is the configuration in effect, and the limits. It names files that hold secrets, and holds none itself.
func (a *API) config(*http.Request) (answer, error) { return answer{body: a.Shown}, nil }

// listControlPlanes tells of all control planes of the store that are not known to be gone, as this one sees them.
func (a *API) listControlPlanes(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	items := a.Fleet.ControlPlanes()
	return answer{body: policy.ControlPlanes{Total: len(items), Items: items}}, nil
}
