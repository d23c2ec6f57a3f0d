package mistake

import "slices"

// Mistakes with tokens.
const (
	TokenMissing   Code = "KG0101"
	TokenMalformed Code = "KG0102"
	TokenExpired   Code = "KG0103"
	ClocksDiffer   Code = "KG0104"
	TokenForeign   Code = "KG0105"
	TokenRevoked   Code = "KG0106"
	TokenMesh      Code = "KG0107"
	TokenName      Code = "KG0108"
	TokenTags      Code = "KG0109"
)

// Mistakes on the way from a proxy to its control plane.
const (
	ControlPlaneAway      Code = "KG0201"
	ControlPlaneOther     Code = "KG0202"
	ControlPlaneUntrusted Code = "KG0203"
	ControlPlaneNone      Code = "KG0204"
)

// Mistakes beside the proxy.
const (
	ProxyPort        Code = "KG0301"
	EnvoyMissing     Code = "KG0302"
	DataplaneInvalid Code = "KG0303"
	DataplaneMissing Code = "KG0304"
)

// Mistakes with the control plane and with kumactl.
const (
	ServerPort       Code = "KG0401"
	StoreInUse       Code = "KG0402"
	PostgresAway     Code = "KG0403"
	PostgresNotReady Code = "KG0404"
	APIAway          Code = "KG0405"
	ReadOnly         Code = "KG0406"
	MeshMissing      Code = "KG0407"
)

// generate is the command that makes a token, for a proxy that is not known here.
const generate = "kumactl generate dataplane-token --mesh MESH --name NAME --tag kuma.io/service=SERVICE --valid-for 720h > TOKEN_FILE"

// Catalogue are all mistakes, in the order of their codes.
func Catalogue() []Entry { return slices.Concat(tokens(), controlPlanes(), proxies(), servers()) }
