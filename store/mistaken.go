package store

import (
	"crypto/tls"
	"errors"
	"strconv"

	"koguma/mistake"
)

// mistaken is why Postgres cannot be used, as the mistake behind it if it is a known one.
func (c *PostgresConfig) mistaken(err error) error {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	state := sqlState(err)
	if err == nil || len(c.Hosts) == 0 {
		return err
	}
	h := c.Hosts[0]
	at := []string{"-h", h.Name, "-p", strconv.Itoa(h.Port)}
	as := append(at, "-U", c.User)
	switch {
	case state == "3D000": // there is no such database
		return mistake.New(mistake.PostgresAway, err, mistake.Command(append(append([]string{"createdb"}, as...), c.Database)...), "kuma-cp migrate up")
	case len(state) == 5 && state[:2] == "28", unverified, alert: // it lets nobody in like that
		return mistake.New(mistake.PostgresAway, err,
			mistake.Command(append(append([]string{"psql"}, as...), "-d", c.Database, "-c", "select 1")...), "kuma-cp config")
	case away(err):
		return mistake.New(mistake.PostgresAway, err, mistake.Command(append([]string{"pg_isready"}, at...)...), "kuma-cp config")
	}
	return err
}
