package doctor

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// Answer is what a server said, and when.
type Answer struct {
	*http.Response
	Text           []byte // the whole body
	Sent, Received time.Time
}

// Ask sends a request and reads the answer, of 1 MiB at most.
func Ask(by http.RoundTripper, req *http.Request) (*Answer, error) {
	a := &Answer{Sent: time.Now()}
	var err error
	if a.Response, err = by.RoundTrip(req); err != nil {
		return nil, err
	}
	a.Received = time.Now() // of the header, which has the date
	defer a.Body.Close()
	if a.Text, err = io.ReadAll(io.LimitReader(a.Body, maxAnswer+1)); err != nil {
		return nil, err
	}
	if len(a.Text) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	return a, nil
}
