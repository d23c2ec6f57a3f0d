package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"koguma/policy"
)

// IdentitySecretName is the name of the secret with the certificate of a service. The proxy's first service, which is
// the one that it is towards others, has the name that Kuma gives to the only one.
func IdentitySecretName(mesh, service string, first bool) string {
	if first {
		return "identity_cert:secret:" + mesh
	}
	return "identity_cert:secret:" + mesh + ":" + service
}

// CASecretName is the name of the secret with the mesh's root certificates.
func CASecretName(mesh string) string { return "mesh_ca:secret:" + mesh }

// ClusterName is the name of the cluster for what an outbound leads to: the service, and where more tags narrow it
// down, a hash of them all.
func ClusterName(tags map[string]string) string {
	if len(tags) == 1 {
		return tags[policy.TagService]
	}
	pairs := make([]string, 0, len(tags))
	for k, v := range tags {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return tags[policy.TagService] + "-" + hash(strings.Join(pairs, "\n"))[:16]
}

func inboundName(a netip.AddrPort) string  { return "inbound:" + hostPort(a) }
func outboundName(a netip.AddrPort) string { return "outbound:" + hostPort(a) }

// workloadName is the name of the cluster with the workload behind an inbound.
func workloadName(a netip.AddrPort) string {
	if a.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		return "localhost:" + strconv.Itoa(int(a.Port()))
	}
	return hostPort(a)
}

// hostPort writes an address as Kuma's names do: without brackets, also for IPv6.
func hostPort(a netip.AddrPort) string {
	return a.Addr().String() + ":" + strconv.Itoa(int(a.Port()))
}

// ServerName is the SNI with which a proxy of the source service dials one of the destination: a label for each of
// source, destination and mesh. The destination's proxy chooses its filter chain for the source by it, and an ingress
// can route by what follows the first label. It is a hint and no proof: the chain judges the certificate.
func ServerName(source, destination, mesh string) string {
	return label(source) + "." + label(destination) + "." + label(mesh)
}

var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	hashLabel = regexp.MustCompile(`^h-[0-9a-f]{32}$`)
)

// label is the name if it can stand in a server name as it is, and a hash of it otherwise. Two names never share one.
func label(name string) string {
	if dnsLabel.MatchString(name) && !hashLabel.MatchString(name) {
		return name
	}
	return "h-" + hash(name)[:32]
}

// tagDomain is what the names of tags in certificates end with. Nobody can have it: .internal is for private use.
const tagDomain = ".tag.koguma.internal"

// tagSuffix is how the DNS names end by which a certificate says that its owner has a tag, and tagName is the whole name
// for one value of it: a label for each of value and key.
func tagSuffix(key string) string      { return "." + label(key) + tagDomain }
func tagName(key, value string) string { return label(value) + tagSuffix(key) }

// TagNames are the DNS names that the certificate of a peer has for its tags, sorted.
func TagNames(p policy.Peer) []string {
	var names []string
	for k, values := range p.Tags {
		for _, v := range values {
			names = append(names, tagName(k, v))
		}
	}
	slices.Sort(names)
	return names
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// spiffeID is the identity of a service. Names were checked on their way in, so that nothing needs escaping here.
func spiffeID(mesh, service string) string { return "spiffe://" + mesh + "/" + service }
