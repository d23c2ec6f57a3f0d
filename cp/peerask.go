package cp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"koguma/cp/api"
	"koguma/policy"
)

const (
	// askPatience bounds how long an answer of peers is waited for.
	askPatience = 2 * time.Second
	// maxTally bounds one, in bytes.
	maxTally = 64 << 20
)

// other is a peer as a question needs it.
type other struct {
	address string
	conn    *http.ClientConn // nil if it is not heard
}

// others are the peers that are not known to be gone, by address.
func (p *peers) others() []other {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []other
	for _, q := range p.known {
		if !q.lapsed {
			all = append(all, other{q.address, q.conn})
		}
	}
	slices.SortFunc(all, func(a, b other) int { return strings.Compare(a.address, b.address) })
	return all
}

// ask asks all peers at once. silent are the addresses of those that did not answer.
func (p *peers) ask(ctx context.Context, q api.Question) (tallies [][]account, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	all := p.others()
	type reply struct {
		accounts []account
		err      error
	}
	replies := make([]chan reply, len(all))
	for i, o := range all {
		replies[i] = make(chan reply, 1)
		go func() {
			accounts, err := o.ask(ctx, q)
			replies[i] <- reply{accounts, err}
		}()
	}
	for i, o := range all {
		if r := <-replies[i]; r.err == nil {
			tallies = append(tallies, r.accounts)
		} else {
			p.log.Debug("another control plane was asked in vain", "address", o.address, "error", r.err)
			silent = append(silent, o.address)
		}
	}
	return tallies, silent
}

// ask asks the peer, which is given up with the context.
func (o other) ask(ctx context.Context, q api.Question) ([]account, error) {
	if o.conn == nil {
		return nil, errors.New("it is not heard")
	}
	body, err := policy.Encode(q)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+o.address+"/accounts", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := o.conn.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxTally))
	if err != nil {
		return nil, err
	}
	var t tally
	err = policy.DecodeOpen(data, &t)
	return t.Accounts, err
}
