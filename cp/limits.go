package cp

import (
	"fmt"
	"time"

	"koguma/certs"
	"koguma/cp/api"
	"koguma/cp/explain"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/gui"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// The limits of the server that proxies connect to.
const (
	maxMessage = 1 << 20 // bytes
	maxStreams = 64      // on one connection
)

// Limit is a bound that is built in: what goes beyond it is refused, or cut off.
type Limit struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Unit  string `json:"unit"` // bytes, characters, bits, seconds, or what is counted
}

// String is the value as people write it.
func (l Limit) String() string {
	switch {
	case l.Unit == "bytes" && l.Value%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", l.Value>>20)
	case l.Unit == "bytes" && l.Value%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", l.Value>>10)
	case l.Unit == "seconds":
		return policy.Duration(time.Duration(l.Value) * time.Second).String()
	}
	return fmt.Sprintf("%d %s", l.Value, l.Unit)
}

// Limits are the bounds of a control plane, all in one place. Each is the constant that the code goes by.
func Limits() []Limit {
	seconds := func(name string, d time.Duration) Limit { return Limit{name, int64(d / time.Second), "seconds"} }
	return []Limit{
		{"http.header", api.MaxHeader, "bytes"},
		seconds("http.headerTimeout", api.HeaderTimeout),
		seconds("http.readTimeout", api.ReadTimeout),
		seconds("http.writeTimeout", api.WriteTimeout),
		seconds("http.idleTimeout", api.IdleTimeout),
		{"api.body", api.MaxBody, "bytes"},
		{"api.bodySecret", policy.MaxSecret, "bytes"},
		{"api.page", api.MaxPage, "items"},
		{"api.pageDefault", api.DefaultPage, "items"},
		{"api.pairsListed", explain.MostPairs, "pairs"},
		{"api.pairsTried", explain.MostTrials, "pairs"},
		{"gui.streams", gui.MaxStreams, "streams"},
		{"api.writeAttempts", store.MaxAttempts, "attempts"},

		seconds("dp.handshakeTimeout", handshakeTimeout),
		seconds("dp.firstRequestTimeout", xds.FirstRequest),
		{"dp.header", api.MaxHeader, "bytes"},
		{"dp.message", maxMessage, "bytes"},
		{"dp.streams", maxStreams, "streams"},
		{"dp.names", xds.MaxNames, "names"},
		{"dp.chains", xds.MaxChains, "chains"},
		{"dp.report", maxReport, "bytes"},
		{"dp.reportInbounds", maxReported, "inbounds"},
		{"dp.refusal", maxReason, "bytes"},
		seconds("dp.refusalPause", api.RefusalPause),
		{"dp.refusedPeers", api.MaxRefusedPeers, "peers"},

		{"document.depth", policy.MaxDepth, "levels"},
		{"document.size", policy.MaxDocument, "bytes"},
		{"resource.mesh", policy.MaxMeshName, "characters"},
		{"resource.name", policy.MaxName, "characters"},
		{"resource.tag", policy.MaxTag, "characters"},
		{"resource.sourceTags", policy.MaxPeerTags, "tags"},
		{"permission.matchers", policy.MaxMatchers, "matchers"},
		{"store.key", store.MaxKey, "bytes"},
		seconds("store.timeout", store.Timeout),

		{"token.size", token.MaxToken, "bytes"},
		{"token.tags", token.MaxTags, "bytes"},
		{"token.id", token.MaxID, "bytes"},
		{"token.revocations", registry.MaxRevocations, "bytes"},
		seconds("token.life", token.MaxLife),

		{"certificate.request", certs.MaxCSR, "bytes"},
		{"certificate.rsaMin", certs.MinRSABits, "bits"},
		{"certificate.rsaMax", certs.MaxRSABits, "bits"},
		{"certificate.held", maxHeld, "certificates"},
		seconds("certificate.lifeMin", policy.MinLeafLife),
		seconds("certificate.lifeMax", policy.MaxLeafLife),
		seconds("certificate.issueTimeout", mostIssue),

		seconds("interCp.renewal", usualTerms().renew),
		seconds("interCp.lease", usualTerms().lapse),
		seconds("interCp.silence", usualTerms().silence),
		seconds("interCp.answerTimeout", askPatience),
		{"interCp.question", maxQuestion, "bytes"},
		{"interCp.answer", maxTally, "bytes"},
		{"interCp.update", maxLine, "bytes"},

		{"file.pem", certs.MaxPEM, "bytes"},
		{"file.chain", certs.MaxChain, "certificates"},
		{"file.tls", maxTLSFile, "bytes"},
		{"file.publicKey", maxPublicKey, "bytes"},
	}
}

// shownConfig is a configuration as it is shown: with the limits that are built in. What is secret in it hides itself.
type shownConfig struct {
	settings.Config
	Limits []Limit `json:"limits"`
}

func shown(c settings.Config) shownConfig { return shownConfig{c, Limits()} }

// ConfigYAML is the configuration and, under limits, those that are built in. It shows no password.
func ConfigYAML(c settings.Config) ([]byte, error) { return policy.EncodeYAML(shown(c)) }
