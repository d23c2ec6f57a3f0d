package testenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"koguma/store"
)

// Nobody is the id of the user and the group that run what refuses to be run by root.
const Nobody = 65534

// PostgresPassword is that of the user kuma.
const PostgresPassword = "let me in, 'please' \\"

// Postgres is a real server, with files and an address of its own. It may be stopped and started again.
type Postgres struct {
	*Process // the newest one
	Host     string
	Port     int

	bin, dir  string
	user      int // who runs it; 0 is who we are
	databases atomic.Int64
}

// NewPostgres makes a server, which does not run yet. Over TCP the user kuma comes in with a password.
func NewPostgres(ctx context.Context) (*Postgres, error) {
	bin, err := find(cmp.Or(os.Getenv("KOGUMA_POSTGRES"), filepath.Join(".tools", "postgres", "bin")), "make tools")
	if err != nil {
		return nil, err
	}
	// Not where temporary files are: whoever runs the server may not come there. The path of a socket has to be short, too.
	dir, err := os.MkdirTemp("/tmp", "koguma-pg-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Host: Loopback(), bin: bin, dir: dir}
	if err := p.prepare(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Postgres) prepare(ctx context.Context) error {
	if err := p.settle(); err != nil {
		return err
	}
	_, err := Run(ctx, p.command("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"))
	if err != nil {
		return err
	}
	return p.Permit("host all kuma all scram-sha-256")
}

// settle chooses who runs the server, and at which port.
func (p *Postgres) settle() error {
	if os.Getuid() == 0 { // as whom it refuses to run
		p.user = Nobody
		if err := os.Chown(p.dir, p.user, p.user); err != nil {
			return err
		}
	}
	ports, err := FreePorts(p.Host, 1)
	if err != nil {
		return err
	}
	p.Port = ports[0]
	return nil
}

// command is a program of Postgres. Its libraries are beside it.
func (p *Postgres) command(name string, args ...string) Command {
	return Command{
		Name: name, Path: filepath.Join(p.bin, name), Args: append([]string{"-D", p.path("data")}, args...), Dir: p.dir, User: p.user,
	}
}

func (p *Postgres) path(name string) string { return filepath.Join(p.dir, name) }

// Permit says who comes in over TCP, by the lines of pg_hba.conf, from the next start on.
func (p *Postgres) Permit(lines ...string) error {
	return p.File("data/pg_hba.conf", "local all postgres trust\nlocal replication postgres trust\n"+strings.Join(lines, "\n")+"\n")
}

// File writes a file that the server reads.
func (p *Postgres) File(name, content string) error {
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		return err
	}
	if p.user == 0 {
		return nil
	}
	return os.Chown(p.path(name), p.user, p.user)
}

// Start runs the server, again if it was stopped, with these settings ("ssl=on") on top, and returns when it takes
// connections.
func (p *Postgres) Start(ctx context.Context, settings ...string) error {
	args := []string{"-h", p.Host, "-p", strconv.Itoa(p.Port), "-k", p.dir}
	for _, s := range append([]string{"fsync=off", "max_connections=200", "shared_buffers=32MB"}, settings...) {
		args = append(args, "-c", s)
	}
	process, err := Start(p.command("postgres", args...))
	if err != nil {
		return err
	}
	p.Process = process
	err = p.await(ctx, "take connections", func() error { return p.Exec(ctx, "postgres", "SELECT") })
	if err != nil {
		return err
	}
	err = p.Exec(ctx, "postgres", "CREATE ROLE kuma LOGIN PASSWORD '"+strings.ReplaceAll(PostgresPassword, "'", "''")+"'")
	if err != nil && (strings.Contains(err.Error(), "42710") || strings.Contains(err.Error(), "25006")) {
		return nil // from an earlier start, or from the server that this one follows
	}
	return err
}

// Stop ends the server, and every connection.
func (p *Postgres) Stop() error {
	if p.Process == nil || p.Running() != nil {
		return nil
	}
	if err := p.Signal(syscall.SIGINT); err != nil {
		return err
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case <-p.Done():
		return nil
	case <-timeout.C:
		p.Kill()
		return fmt.Errorf("postgres did not end\n%s", p.Tail(20))
	}
}

// Freeze keeps the server from answering, and from taking notice, until Thaw.
func (p *Postgres) Freeze() error { return p.signalAll(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Postgres) Thaw() error { return p.signalAll(syscall.SIGCONT) }

// signalAll signals the server and the processes of its connections. Those that end meanwhile are passed over.
func (p *Postgres) signalAll(s syscall.Signal) error {
	for _, pid := range append([]int{p.PID()}, Descendants(p.PID())...) {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Close ends the server and removes its files.
func (p *Postgres) Close() error {
	return errors.Join(p.Stop(), os.RemoveAll(p.dir))
}

// Exec runs SQL as the administrator.
func (p *Postgres) Exec(ctx context.Context, database, sql string) error {
	conn, err := p.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", p.dir, p.Port, database))
}

// Names asks for rows of one text each, as the administrator.
func (p *Postgres) Names(ctx context.Context, database, sql string) ([]string, error) {
	conn, err := p.connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// NewDatabase makes a database of the user kuma, which holds nothing, and returns how to open it.
func (p *Postgres) NewDatabase(ctx context.Context) (store.PostgresConfig, error) {
	name := fmt.Sprint("kuma", p.databases.Add(1))
	err := p.Exec(ctx, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER kuma TEMPLATE template0", name))
	return store.PostgresConfig{
		Hosts: []store.PostgresHost{{Name: p.Host, Port: p.Port}}, User: "kuma", Password: PostgresPassword, Database: name, TLSMode: store.TLSDisable,
		MaxConns: 4, ConnectTimeout: 5 * time.Second, MaxConnIdleTime: time.Minute, MaxConnLifetime: time.Hour,
		HealthCheckInterval: time.Second, Log: slog.New(slog.DiscardHandler),
	}, err
}

// usePostgres has the store of the mesh be in a database of its own.
func (m *Mesh) usePostgres() {
	m.t.Helper()
	ctx, cancel := m.ctx()
	defer cancel()
	cfg, err := m.o.Postgres.NewDatabase(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	m.env = append(m.env, PostgresEnv(cfg)...)
	path, err := Binary("kuma-cp")
	if err == nil {
		_, err = Run(ctx, Command{Name: "kuma-cp", Path: path, Args: []string{"migrate", "up"}, Env: PostgresEnv(cfg)})
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// PostgresEnv is what tells a kuma-cp of a database.
func PostgresEnv(cfg store.PostgresConfig) []string {
	var names, ports []string
	for _, h := range cfg.Hosts {
		names, ports = append(names, h.Name), append(ports, strconv.Itoa(h.Port))
	}
	return []string{
		"KUMA_STORE_TYPE=postgres", "KUMA_STORE_POSTGRES_HOST=" + strings.Join(names, ","), "KUMA_STORE_POSTGRES_PORT=" + strings.Join(ports, ","),
		"KUMA_STORE_POSTGRES_USER=" + cfg.User, "KUMA_STORE_POSTGRES_PASSWORD=" + string(cfg.Password), "KUMA_STORE_POSTGRES_DB_NAME=" + cfg.Database,
	}
}
