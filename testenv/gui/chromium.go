package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// chromium is a headless Chromium with one page, driven by the DevTools protocol over a pair of pipes: JSON, each message
// with a zero byte after it.
type chromium struct {
	cmd     *exec.Cmd
	dir     string // its own, removed at the end
	in      *os.File
	session string // of the page

	mu         sync.Mutex
	last       int
	waiting    map[int]chan reply
	complaints []string // what the page's console says that is no good
}

// reply is what comes back for a call, or an event, which has a method.
type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startChromium starts the Chromium that was unpacked into root, with what it needs from there.
func startChromium(ctx context.Context, root string) (c *chromium, err error) {
	dir, err := os.MkdirTemp("", "koguma-chromium-")
	if err != nil {
		return nil, err
	}
	c = &chromium{dir: dir, waiting: map[int]chan reply{}}
	theirs, mine, err := os.Pipe() // they read from it
	if err != nil {
		return nil, err
	}
	out, wrote, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	lib := func(p string) string { return filepath.Join(root, p, "x86_64-linux-gnu") }
	c.cmd = exec.Command(filepath.Join(root, "usr/lib/chromium/chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--force-color-profile=srgb", "--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	c.cmd.Env = append(os.Environ(), "HOME="+dir, "FONTCONFIG_SYSROOT="+root,
		"LD_LIBRARY_PATH="+strings.Join([]string{lib("usr/lib"), lib("lib"), filepath.Join(lib("usr/lib"), "pulseaudio")}, ":"))
	c.cmd.ExtraFiles = []*os.File{theirs, wrote} // 3 and 4 there
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.in = mine
	err = c.cmd.Start()
	theirs.Close()
	wrote.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w; run make test-gui, which fetches it", err), os.RemoveAll(dir))
	}
	go c.read(out)
	if err := c.attach(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// attach opens the page, and has it tell of what goes wrong.
func (c *chromium) attach(ctx context.Context) error {
	var target struct{ TargetID string }
	if err := c.call(ctx, "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := c.call(ctx, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	c.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		if err := c.call(ctx, domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the browser with all its processes.
func (c *chromium) stop() error {
	c.in.Close()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	_ = c.cmd.Wait() // it was killed
	return os.RemoveAll(c.dir)
}

// read hands on what the browser says until it ends.
func (c *chromium) read(out io.ReadCloser) {
	defer out.Close()
	r := bufio.NewReader(out)
	for {
		data, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m reply
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		if m.Method != "" {
			c.event(m)
		} else if to := c.waiting[m.ID]; to != nil {
			delete(c.waiting, m.ID)
			to <- m
		}
		c.mu.Unlock()
	}
}

// event notes what should not be. That the control plane cannot be reached is what tests are about. The caller holds the lock.
func (c *chromium) event(m reply) {
	var said struct {
		Type  string
		Entry struct{ Level, Source, Text string }
	}
	_ = json.Unmarshal(m.Params, &said)
	switch {
	case m.Method == "Runtime.exceptionThrown",
		m.Method == "Runtime.consoleAPICalled" && (said.Type == "error" || said.Type == "warning"),
		m.Method == "Log.entryAdded" && said.Entry.Level != "verbose" && said.Entry.Source != "network":
		c.complaints = append(c.complaints, fmt.Sprintf("%s %s", m.Method, m.Params))
	}
}

// call calls a method of the protocol, for the page once there is one. result may be nil.
func (c *chromium) call(ctx context.Context, method string, params map[string]any, result any) error {
	c.mu.Lock()
	c.last++
	id, answer := c.last, make(chan reply, 1)
	c.waiting[id] = answer
	c.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if c.session != "" {
		message["sessionId"] = c.session
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(data, 0)); err != nil {
		return fmt.Errorf("chromium: %w", err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("chromium: %s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-ctx.Done():
		return fmt.Errorf("chromium: %s: %w", method, ctx.Err())
	}
}

// open loads an address.
func (c *chromium) open(ctx context.Context, url string) error {
	return c.call(ctx, "Page.navigate", map[string]any{"url": url}, nil)
}

// eval is what an expression comes to in the page, as text. One that is asked while the page changes is never answered.
func (c *chromium) eval(ctx context.Context, expression string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	err := c.call(ctx, "Runtime.evaluate", map[string]any{"expression": "(async () => String(await (" + expression + ")))()", "awaitPromise": true, "returnByValue": true}, &r)
	if err != nil {
		return "", err
	}
	if r.ExceptionDetails != nil {
		return "", fmt.Errorf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(r.Result.Value), nil
}

// press presses a key as a person does.
func (c *chromium) press(ctx context.Context, key string, modifiers int) error {
	params := map[string]any{"type": "keyDown", "key": key, "modifiers": modifiers}
	code := map[string]int{"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[key]
	params["windowsVirtualKeyCode"], params["code"] = code, key
	if key == "Enter" {
		params["text"] = "\r"
	}
	if err := c.call(ctx, "Input.dispatchKeyEvent", params, nil); err != nil {
		return err
	}
	return c.call(ctx, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
}

// click clicks where an element is.
func (c *chromium) click(ctx context.Context, selector string) error {
	at, err := c.eval(ctx, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(); return (r.x + r.width / 2) + " " + (r.y + r.height / 2); })()`, selector))
	if err != nil {
		return err
	}
	var x, y float64
	if _, err := fmt.Sscan(at, &x, &y); err != nil {
		return err
	}
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		params := map[string]any{"type": kind, "x": x, "y": y}
		if kind != "mouseMoved" {
			params["button"], params["clickCount"] = "left", 1
		}
		if err := c.call(ctx, "Input.dispatchMouseEvent", params, nil); err != nil {
			return err
		}
	}
	return nil
}

// look has the page be so wide, in light or in dark.
func (c *chromium) look(ctx context.Context, width int, scheme string) error {
	err := c.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	if err != nil {
		return err
	}
	return c.call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot writes the whole page as a PNG.
func (c *chromium) shoot(ctx context.Context, file string) error {
	var shot struct{ Data string }
	if err := c.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot); err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
