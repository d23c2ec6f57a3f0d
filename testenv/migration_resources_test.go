package testenv_test

import (
	"encoding/base64"
	"strings"
)

// resources are in the form in which Kuma's users have them, by what the table calls them. They are applied one after the other.
func (k *kuma) resources() map[string]string {
	inbound := "networking: {address: 10.0.0.1, inbound: [{port: 10000, servicePort: 9000, tags: {kuma.io/service: echo}}]}\n"
	all := map[string]string{
		"Mesh, `builtin`, with `dpCert`, `rootChain`, `conf` and `skipCreatingInitialPolicies`": `type: Mesh
name: default
skipCreatingInitialPolicies: ['*']
mtls:
  enabledBackend: ca-1
  backends:
    - name: ca-1
      type: builtin
      mode: STRICT
      dpCert:
        rotation:
          expiration: 1d
        requestTimeout: 10s
      rootChain:
        requestTimeout: 10s
      conf:
        caCert:
          RSAbits: 2048
          expiration: 10y
`,
		"Mesh, `provided`, inline": k.mesh("inline", "mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: provided, conf: {cert: {inline: "+
			k.caData("inline")+"}, key: {inline: "+k.keyData()+"}}}]}"),
		"Mesh, `constraints`":  k.mesh("bounded", "constraints: {dataplaneProxy: {requirements: [{tags: {kuma.io/zone: default}}], restrictions: [{tags: {legacy: '*'}}]}}"),
		"Mesh, `meshServices`": k.mesh("default", "meshServices: {mode: Disabled}"),
		"Mesh, `networking`":   k.mesh("default", "networking: {outbound: {passthrough: true}}"),
		"Mesh, `routing`":      k.mesh("default", "routing: {localityAwareLoadBalancing: true}"),
		"Mesh, `metrics`":      k.mesh("default", "metrics: {enabledBackend: p, backends: [{name: p, type: prometheus}]}"),
		"Mesh, `logging`":      k.mesh("default", "logging: {backends: [{name: f, type: file, conf: {path: /tmp/access.log}}]}"),
		"Mesh, `vault`":        k.mesh("default", "mtls: {enabledBackend: v, backends: [{name: v, type: vault, conf: {}}]}"),

		"Dataplane, with `advertisedAddress`, `admin`, `health`, `state`, outbounds and times": k.dataplane(`creationTime: "2025-01-02T03:04:05Z"
modificationTime: "2025-01-02T03:04:05.678901Z"
networking:
  address: 10.0.0.1
  advertisedAddress: 192.0.2.1
  admin: {port: 9901}
  inbound:
  - port: 10000
    servicePort: 9000
    serviceAddress: 127.0.0.1
    state: Ready
    health: {ready: true}
    tags:
      kuma.io/service: echo
      kuma.io/protocol: http
      version: "1"
  outbound:
  - port: 33033
    tags: {kuma.io/service: redis}
`),
		"Dataplane, `gateway`":              k.dataplane("networking: {address: 10.0.0.1, gateway: {tags: {kuma.io/service: gw}}}\n"),
		"Dataplane, zone `default`":         k.dataplane(strings.Replace(inbound, "echo", "echo, kuma.io/zone: default", 1)),
		"Dataplane, another zone":           k.dataplane(strings.Replace(inbound, "echo", "echo, kuma.io/zone: east", 1)),
		"Dataplane, address by name":        k.dataplane(strings.Replace(inbound, "10.0.0.1", "echo.example", 1)),
		"Dataplane, `transparentProxying`":  k.dataplane(strings.Replace(inbound, "]}\n", "], transparentProxying: {redirectPortInbound: 15006, redirectPortOutbound: 15001}}\n", 1)),
		"Dataplane, `backendRef`":           k.dataplane(strings.Replace(inbound, "]}\n", "], outbound: [{port: 1, backendRef: {kind: MeshService, name: redis, port: 6379}}]}\n", 1)),
		"Dataplane, `serviceProbe`":         k.dataplane(strings.Replace(inbound, "servicePort: 9000", "servicePort: 9000, serviceProbe: {tcp: {}}", 1)),
		"Dataplane, `probes`":               k.dataplane(inbound + "probes: {port: 9100, endpoints: [{inboundPort: 10000, inboundPath: /, path: /}]}\n"),
		"Dataplane, `BUILTIN` gateway":      k.dataplane("networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: gw}}}\n"),
		"Dataplane, tag value with a colon": k.dataplane(strings.Replace(inbound, "echo", "'echo:80'", 1)),

		"TrafficPermission, `allow-all`": `type: TrafficPermission
name: allow-all-default
mesh: default
sources:
  - match:
      kuma.io/service: '*'
destinations:
  - match:
      kuma.io/service: '*'
`,
		"TrafficPermission, by other tags": `type: TrafficPermission
mesh: default
name: by-tags
sources:
  - match:
      kuma.io/service: web
      version: "1"
destinations:
  - match:
      kuma.io/service: backend
      kuma.io/protocol: http
`,
		"MeshTrafficPermission, `from`": k.permission(`  targetRef:
    kind: MeshService
    name: payments
  from:
    - targetRef:
        kind: MeshSubset
        tags: {kuma.io/service: orders}
      default:
        action: Allow
`),
		"MeshTrafficPermission, `rules` with SPIFFE IDs": k.permission(`  targetRef: {kind: Dataplane, labels: {app: echo}}
  rules:
    - default:
        allow:
          - spiffeID: {type: Exact, value: spiffe://default/web}
        deny:
          - spiffeID: {type: Prefix, value: spiffe://default/legacy}
`),
		"MeshTrafficPermission, `sni`":         k.permission("  rules: [{default: {allow: [{sni: {type: Exact, value: echo}}]}}]\n"),
		"MeshTrafficPermission, `MeshGateway`": k.permission("  targetRef: {kind: MeshGateway, name: edge}\n  from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]\n"),
		"MeshTrafficPermission, SPIFFE ID of another trust domain": k.permission(
			"  rules: [{default: {allow: [{spiffeID: {type: Exact, value: spiffe://default.east.mesh.local/ns/a/sa/b}}]}}]\n"),

		"Secret, next signing key":                         k.secret("Secret", "dataplane-token-signing-key-default-2", k.keyData()),
		"Secret, signing key with zeros before its number": k.secret("Secret", "dataplane-token-signing-key-default-0003", k.keyData()),
		"Secret, revoked tokens": k.secret("Secret", "dataplane-token-revocations-default",
			encoded("0e120ec9-6b42-495d-9758-07b59fe86fb9,1e120ec9-6b42-495d-9758-07b59fe86fb9\n")),
		"GlobalSecret": k.secret("GlobalSecret", "zone-token-signing-key-1", k.keyData()),
		"GlobalSecret, revoked data plane tokens": k.secret("GlobalSecret", "dataplane-token-revocations-default", encoded("0e120ec9-6b42-495d-9758-07b59fe86fb9")),
		"for Kubernetes": "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec: {}\n",
	}
	for _, kind := range []string{"TrafficRoute", "Timeout", "MeshTimeout", "Zone"} {
		all[kind] = "type: " + kind + "\nmesh: default\nname: x\n"
	}
	return all
}

func (*kuma) mesh(name, rest string) string { return "type: Mesh\nname: " + name + "\n" + rest + "\n" }

func (*kuma) dataplane(rest string) string {
	return "type: Dataplane\nmesh: default\nname: echo-1\nlabels: {app: echo, kuma.io/origin: zone}\n" + rest
}

func (*kuma) permission(spec string) string {
	return "type: MeshTrafficPermission\nmesh: default\nname: allow-orders\nspec:\n" + spec
}

func (*kuma) secret(kind, name, data string) string {
	of := ""
	if kind == "Secret" {
		of = "mesh: default\n"
	}
	return "type: " + kind + "\n" + of + "name: " + name + "\ndata: " + data + "\n"
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
