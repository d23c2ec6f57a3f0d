package authority_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"koguma/authority"
	"koguma/policy"
)

func TestBuiltinCheck(t *testing.T) {
	t.Parallel()
	const kept = time.Hour
	for _, test := range []struct {
		conf policy.Document
		leaf time.Duration // 0 is the default
		want string        // the field and a part of the reason; "" if it is good
	}{
		{``, 0, ""},
		{`{}`, 0, ""},
		{`{"caCert":{"RSAbits":0}}`, 0, ""},
		{`{"caCert":{"RSAbits":2048,"expiration":"10y"}}`, kept, ""},
		{`{"caCert":{"expiration":"1h"}}`, time.Hour, ""},
		{`{"caCert":{"expiration":"1h"}}`, 2 * time.Hour, "dpCert.rotation.expiration: a certificate would live 2h, longer than its CA"},
		{`{"caCert":{"expiration":"1h"}}`, 0, "conf.caCert.expiration: a certificate would live 1d, longer"},
		{`{"caCert":{"expiration":"101y"}}`, kept, "conf.caCert.expiration: must be between"},
		{`{"caCert":{"expiration":"9s"}}`, 0, "conf.caCert.expiration: must be between"},
		{`{"caCert":{"RSAbits":1024}}`, kept, "conf.caCert.RSAbits: must be between 2048 and 4096"},
		{`{"caCert":{"RSAbits":8192}}`, kept, "conf.caCert.RSAbits: must be between"},
		{`{"caCert":{"RSAbits":-1}}`, kept, "conf.caCert.RSAbits: must be between"},
		{`{"caCert":{"rsabits":2048}}`, kept, "conf.caCert: unknown field"},
		{`{"caCert":{"expiration":"1 hour"}}`, kept, "conf.caCert.expiration: "},
	} {
		b := &policy.Backend{Name: "ca-1", Type: policy.BackendBuiltin, Conf: test.conf}
		if test.leaf > 0 {
			b.DPCert = &policy.DPCert{}
			b.DPCert.Rotation.Expiration = policy.Duration(test.leaf)
		}
		kind, err := authority.KindOf(b.Type)
		if err != nil {
			t.Fatal(err)
		}
		err = kind.Check(b)
		switch invalid, ok := errors.AsType[*policy.Invalid](err); {
		case test.want == "" && err == nil:
		case test.want != "" && ok && strings.HasPrefix(invalid.Error(), test.want):
		default:
			t.Errorf("%s with a leaf of %v: got %v, want %q", test.conf, test.leaf, err, test.want)
		}
	}
}

// What Make makes, Open opens; and what is there is not made again.
func TestBuiltinMakesItsCA(t *testing.T) {
	t.Parallel()
	b := &policy.Backend{Name: "ca-1", Type: policy.BackendBuiltin, Conf: `{"caCert":{"RSAbits":2048,"expiration":"1y"}}`}
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := kind.Make("default", b, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	a, err := kind.Open("default", b, func(name string) []byte { return secrets[name] })
	if err != nil {
		t.Fatal(err)
	}
	root := a.Roots()[0]
	if got := time.Until(root.NotAfter).Round(time.Hour); got != 365*24*time.Hour || root.URIs[0].String() != "spiffe://default" {
		t.Errorf("the CA of %v lives %v", root.URIs, got)
	}
	again, err := kind.Make("default", b, func(name string) bool { return secrets[name] != nil })
	if err != nil || len(again) > 0 {
		t.Errorf("made again: %d secrets, %v", len(again), err)
	}
	half, err := kind.Make("default", b, func(name string) bool { return name == policy.CACertName("default", "ca-1") })
	if err != nil || len(half) != 2 {
		t.Errorf("with one of two secrets: made %d, %v", len(half), err)
	}
	if _, err := kind.Open("default", b, func(string) []byte { return nil }); err == nil {
		t.Error("opened without its secrets")
	}
}

func TestUnknownKind(t *testing.T) {
	t.Parallel()
	if _, err := authority.KindOf("vault"); err == nil {
		t.Error("there is a kind that nobody made")
	}
}
