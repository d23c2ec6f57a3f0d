package cp

import (
	"cmp"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"koguma/cp/settings"
)

// product is who we say we are to clients that ask before they talk to us.
const product = "Koguma"

// Version is the version of this program: that of its module, or "dev" where the build knew none.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}

type indexBody struct {
	Hostname   string `json:"hostname"`
	Product    string `json:"product"`
	Version    string `json:"version"`
	InstanceID string `json:"instanceId"`
}

func (a *api) index(*http.Request) (answer, error) {
	host, err := os.Hostname()
	if err != nil {
		return answer{}, err
	}
	return answer{body: indexBody{Hostname: host, Product: product, Version: Version(), InstanceID: a.instanceID}}, nil
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

func (a *api) catalog(r *http.Request) (answer, error) {
	host := cmp.Or(a.cfg.General.AdvertisedHostname, hostOnly(r.Host), "localhost")
	var body catalogBody
	body.APIs.Bootstrap.URL = "https://" + net.JoinHostPort(host, strconv.Itoa(a.dpPort))
	body.APIs.Admin.LocalURL = "http://" + net.JoinHostPort("localhost", strconv.Itoa(a.adminPort))
	if a.publicPort != 0 {
		body.APIs.Admin.PublicURL = "https://" + net.JoinHostPort(host, strconv.Itoa(a.publicPort))
	}
	if a.cfg.AuthnType() == settings.AuthnDPToken {
		body.APIs.DataplaneToken = &body.APIs.Admin
	}
	return answer{body: body}, nil
}

// config is the configuration in effect, and the limits. It names files that hold secrets, and holds none itself.
func (a *api) config(*http.Request) (answer, error) { return answer{body: shown(a.cfg)}, nil }
