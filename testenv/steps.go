package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Step is one thing that a program for people to watch does, and says what it saw.
type Step struct {
	Does string
	Do   func(context.Context) (seen string, err error)
}

// Show does the steps one after the other, each within the limit, and writes a line for each. It ends with the first that
// fails.
func Show(ctx context.Context, w io.Writer, limit time.Duration, steps []Step) error {
	width := 0
	for _, s := range steps {
		width = max(width, len(s.Does))
	}
	for _, s := range steps {
		ctx, cancel := context.WithTimeout(ctx, limit)
		seen, err := s.Do(ctx)
		cancel()
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Does, err)
		}
		fmt.Fprintf(w, "%-*s -> %s\n", width, s.Does, seen)
	}
	return nil
}
