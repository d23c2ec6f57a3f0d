package doctor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// AskReady asks a program of ours at an address, "host:port", whether it is ready, by no proxy, and waits for 5 s at most.
// It is an error if nobody answers.
func AskReady(ctx context.Context, address string) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/ready", nil)
	if err != nil {
		return nil, err
	}
	return Ask(&http.Transport{DisableKeepAlives: true}, req)
}

// WriteReady writes what a program that is ready says. If the answer is no, that is the error.
func (a *Answer) WriteReady(w io.Writer) error {
	if a.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(a.Text)))
	}
	_, err := w.Write(a.Text)
	return err
}
