package policy

// The types of what a control plane sums up of the others. They are in no store.
const (
	TypeMeshInsight    Type = "MeshInsight"
	TypeServiceInsight Type = "ServiceInsight"
)

// MeshInsight is what there is in a mesh, in `GET /mesh-insights`.
type MeshInsight struct {
	Meta
	Dataplanes       DataplaneCount   `json:"dataplanes"`
	DataplanesByType CountByProxyType `json:"dataplanesByType"`
	Policies         map[Type]Count   `json:"policies"`
	Versions         CountByVersion   `json:"dpVersions"`
	MTLS             CountByBackend   `json:"mTLS"`
	Services         ServiceCount     `json:"services"`
}

// ServiceInsight is what there is of a service, in `GET /meshes/{mesh}/service-insights`; its name is that of the service.
type ServiceInsight struct {
	Meta
	Status         string         `json:"status"` // "online", "partially_degraded" or "offline"
	Dataplanes     DataplaneCount `json:"dataplanes"`
	IssuedBackends map[string]int `json:"issuedBackends,omitempty"`
}

// GlobalInsight is what there is in all meshes, in `GET /global-insight`.
type GlobalInsight struct {
	Meshes     Count              `json:"meshes"`
	Dataplanes CountByProxyType   `json:"dataplanes"`
	Policies   Count              `json:"policies"`
	Services   GlobalServiceCount `json:"services"`
	Resources  map[Type]Count     `json:"resources"`
}

// Count is how many there are of something.
type Count struct {
	Total int `json:"total"`
}

// ProxyStatus is whether a proxy works.
type ProxyStatus string

// A proxy is degraded if it is online and not all of its inbounds are ready.
const (
	ProxyOnline   ProxyStatus = "Online"
	ProxyDegraded ProxyStatus = "Partially degraded"
	ProxyOffline  ProxyStatus = "Offline"
)

// Status is whether the proxy works.
func (o *DataplaneOverview) Status() ProxyStatus {
	if !o.Insight.Online() {
		return ProxyOffline
	}
	for i := range o.Dataplane.Networking.Inbound {
		if !o.Dataplane.Networking.Inbound[i].Ready() {
			return ProxyDegraded
		}
	}
	return ProxyOnline
}

// DataplaneCount counts Dataplanes by whether their proxies work. Each is one of online, partly degraded and offline.
type DataplaneCount struct {
	Total             int `json:"total"`
	Online            int `json:"online"`
	Offline           int `json:"offline"`
	PartiallyDegraded int `json:"partiallyDegraded"`
}

// Add counts one whose proxy is in that status.
func (c *DataplaneCount) Add(status ProxyStatus) {
	c.Total++
	switch status {
	case ProxyOnline:
		c.Online++
	case ProxyDegraded:
		c.PartiallyDegraded++
	default:
		c.Offline++
	}
}

// Status is whether a service with these proxies works.
func (c *DataplaneCount) Status() ProxyStatus {
	switch {
	case c.Online == c.Total:
		return ProxyOnline
	case c.Online+c.PartiallyDegraded == 0:
		return ProxyOffline
	}
	return ProxyDegraded
}

// CountByProxyType counts Dataplanes by whether they are gateways.
type CountByProxyType struct {
	Standard         DataplaneCount `json:"standard"`
	GatewayDelegated DataplaneCount `json:"gatewayDelegated"`
}

// CountByVersion counts Dataplanes by what runs there; "unknown" where nobody said.
type CountByVersion struct {
	KumaDP map[string]DataplaneCount `json:"kumaDp"`
	Envoy  map[string]DataplaneCount `json:"envoy"`
}

// CountByBackend counts Dataplanes by the backend that their certificate comes from.
type CountByBackend struct {
	IssuedBackends map[string]DataplaneCount `json:"issuedBackends"`
}

// ServiceCount counts services. All are internal: there are no others here.
type ServiceCount struct {
	Total    int `json:"total"`
	Internal int `json:"internal"`
}

// GlobalServiceCount counts the services of all meshes by whether they work.
type GlobalServiceCount struct {
	Internal DataplaneCount `json:"internal"`
}
