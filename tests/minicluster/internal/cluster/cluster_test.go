package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// options are for a cluster whose components are shell scripts, which die or hang at once: what the supervisor does
// then needs no Kubernetes.
func options(t *testing.T, etcd string) Options {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "etcd"), []byte("#!/bin/sh\n"+etcd+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Options{Dir: filepath.Join(t.TempDir(), "d"), BinDir: bin, NodeIP: "198.18.0.1", Timeout: 10 * time.Second}
}

func TestAComponentThatDiesIsNamedWithTheEndOfItsLog(t *testing.T) {
	o := options(t, "for i in $(seq 30); do echo line $i; done; echo out of luck >&2; exit 7")
	err := Up(context.Background(), o, &bytes.Buffer{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"etcd ended by itself (exit status 7)", "logs/etcd.log", "line 30\n", "out of luck"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %q", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 5\n") {
		t.Errorf("more than the end: %s", err)
	}
}

func TestAComponentThatIsNeverReadyEndsTheStart(t *testing.T) {
	o := options(t, "exec sleep 60")
	o.Timeout = 200 * time.Millisecond
	if err := Up(context.Background(), o, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "etcd was not ready within 200ms") {
		t.Error(err)
	}
}

func TestAStopWhileStartingIsNoFailureAndLeavesNoProcess(t *testing.T) {
	o := options(t, "echo $$ >pid; exec sleep 60")
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error)
	go func() { end <- Up(ctx, o, &bytes.Buffer{}) }()
	pid := ""
	for range 500 {
		if b, err := os.ReadFile(filepath.Join(o.Dir, "pid")); err == nil && len(b) > 0 {
			pid = strings.TrimSpace(string(b))
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/proc/" + pid); pid == "" || err == nil {
		t.Errorf("process %q lives", pid)
	}
}

func TestAFolderThatIsNotEmptyIsRefused(t *testing.T) {
	o := options(t, "")
	if err := os.MkdirAll(filepath.Join(o.Dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Up(context.Background(), o, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Error(err)
	}
}

func TestOptionsThatCannotBeAreRefusedWithTheValue(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--dir is missing":              func(o *Options) { o.Dir = "" },
		"--nodes 33; wanted 0 to 32":    func(o *Options) { o.Nodes = 33 },
		`--node-ip "127.0.0.1"`:         func(o *Options) { o.NodeIP = "127.0.0.1" },
		`--node-ip "x"`:                 func(o *Options) { o.NodeIP = "x" },
		"95 letters; wanted at most 94": func(o *Options) { o.Dir = "/" + strings.Repeat("d", 94) },
		"80 letters; wanted at most 67": func(o *Options) { o.Dir, o.Nodes = "/"+strings.Repeat("d", 79), 1 },
	} {
		o := options(t, "")
		change(&o)
		if _, err := newSupervisor(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; wanted %q", err, want)
		}
	}
}

func TestDownWaitsForTheEndOfTheSupervisor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// A pid that is ours would end the test; one that cannot be is never asked.
	if err := os.WriteFile(lockPath(dir), []byte("?"), 0o644); err != nil {
		t.Fatal(err)
	}
	end := make(chan error)
	go func() { end <- Down(dir, true) }()
	select {
	case err := <-end:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	lock.Close()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dir)
	}
}

func TestDownOfWhatIsNotThereIsNoMistake(t *testing.T) {
	if err := Down(filepath.Join(t.TempDir(), "none"), true); err != nil {
		t.Error(err)
	}
}

func TestDownWipesNoFolderThatIsNotAClusters(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Down(dir, true); err == nil || !strings.Contains(err.Error(), "nothing was removed") {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestComponentsDoNotSeeProxiesNorEtcdsVariables(t *testing.T) {
	got := environment([]string{"PATH=/bin", "HTTPS_PROXY=http://p", "no_proxy=x", "ETCD_NAME=y", "KUBECONFIG=/k", "HOME=/h"})
	if !slices.Equal(got, []string{"PATH=/bin", "HOME=/h"}) {
		t.Error(got)
	}
}

func TestTheEndOfALongLogIsItsLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var b strings.Builder
	for i := range 50000 {
		fmt.Fprintln(&b, "line", i)
	}
	b.WriteString(strings.Repeat("x", 5000) + "\n")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tail, err := tailOf(path, 3)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(tail, "\n")
	if len(lines) != 3 || lines[0] != "  line 49998" || len(lines[2]) > 2100 {
		t.Errorf("%d lines, %q", len(lines), lines[0])
	}
}

func TestTheFrontProxysAuthorityIsNotTheClients(t *testing.T) {
	p, err := newPKI(filepath.Join(t.TempDir(), "pki"), net.ParseIP("198.18.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.putNode("node-0", net.ParseIP("198.18.0.1")); err != nil {
		t.Fatal(err)
	}
	read := func(file string) *x509.Certificate {
		b, err := os.ReadFile(p.path(file))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca, proxy := x509.NewCertPool(), x509.NewCertPool()
	ca.AddCert(read("ca.crt"))
	proxy.AddCert(read("front-proxy-ca.crt"))
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	front := read("front-proxy.crt")
	if _, err := front.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: client}); err == nil {
		t.Error("the front proxy passes as a client")
	}
	if _, err := front.Verify(x509.VerifyOptions{Roots: proxy, KeyUsages: client}); err != nil {
		t.Error(err)
	}
	node := read("node-0.crt")
	if node.Subject.CommonName != "system:node:node-0" || !slices.Equal(node.Subject.Organization, []string{"system:nodes"}) {
		t.Error(node.Subject)
	}
	if _, err := read("node-0-serving.crt").Verify(x509.VerifyOptions{Roots: ca, DNSName: "198.18.0.1"}); err != nil {
		t.Error(err)
	}
}

func TestAComponentThatIsStoppedIsNoNewsAndCanBeStartedAgain(t *testing.T) {
	o := options(t, "exec sleep 60")
	s, err := newSupervisor(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.logs(), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Extra = map[string][]string{"etcd": {"--more"}}
	if err := s.start("etcd", "etcd", "--flag"); err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	first := s.find("etcd")
	for range 2 {
		if err := s.with("etcd", s.stopOne); err != nil || !first.ended() {
			t.Fatal(err)
		}
	}
	if c := <-s.died; c != first || !c.dismissed {
		t.Errorf("%+v", c)
	}
	for range 2 { // the second finds it running
		if err := s.with("etcd", s.startAgain); err != nil {
			t.Fatal(err)
		}
	}
	again := s.find("etcd")
	if again == first || len(s.children) != 1 || !slices.Equal(again.cmd.Args, []string{"etcd", "--flag", "--more"}) {
		t.Errorf("%d children, %q", len(s.children), again.cmd.Args)
	}
	if err := s.with("etcetera", s.restart); err == nil || err.Error() != `no component "etcetera"; there are etcd` {
		t.Error(err)
	}
}
