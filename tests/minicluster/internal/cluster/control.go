package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// order is work for the main loop, which alone may touch the children.
type order struct {
	do   func() error
	done chan error
}

func controlPath(dir string) string { return filepath.Join(dir, "control.sock") }

// control serves the verbs that change a running cluster on a socket in its folder.
func (s *supervisor) control() (closer func(), err error) {
	ln, err := net.Listen("unix", controlPath(s.Dir))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	}
	mux.HandleFunc("POST /restart/{name}", func(w http.ResponseWriter, r *http.Request) {
		o := order{func() error { return s.restart(r.PathValue("name")) }, make(chan error, 1)}
		select {
		case s.orders <- o:
			answer(w, <-o.done)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /script/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = s.script(r.PathValue("namespace")+"/"+r.PathValue("pod"), r.PathValue("container"), string(text))
		}
		answer(w, err)
	})
	server := &http.Server{Handler: mux}
	go server.Serve(ln)
	return func() { server.Close() }, nil
}

// restart kills a component and starts it again with the flags that it had. Containers go on meanwhile: they are not
// the kubelet's.
func (s *supervisor) restart(name string) error {
	c := s.find(name)
	if c == nil {
		var names []string
		for _, c := range s.children {
			names = append(names, c.name)
		}
		return fmt.Errorf("no component %q; there are %s", name, strings.Join(names, ", "))
	}
	s.kill(c)
	s.children = slices.DeleteFunc(s.children, func(o *child) bool { return o == c })
	program := c.cmd.Args[0]
	return s.start(name, program, c.cmd.Args[1:len(c.cmd.Args)-len(s.Extra[name])]...)
}

// script changes a running container's script.
func (s *supervisor) script(pod, container, text string) error {
	for _, r := range s.runtimes {
		if found, err := r.Replace(pod, container, text); found || err != nil {
			return err
		}
	}
	return fmt.Errorf("no running container %s of pod %s", container, pod)
}

// Restart kills and starts again one component of a running cluster.
func Restart(dir, name string) error {
	return call(dir, "/restart/"+url.PathEscape(name), "")
}

// Script gives a running container, named NAMESPACE/POD/CONTAINER, a new script from now on.
func Script(dir, target, text string) error {
	if strings.Count(target, "/") != 2 {
		return fmt.Errorf("script: %q; wanted NAMESPACE/POD/CONTAINER", target)
	}
	return call(dir, "/script/"+target, text)
}

func call(dir, path, body string) error {
	if dir == "" {
		return errors.New("--dir is missing; wanted the folder given to up")
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", controlPath(dir))
		}}}
	resp, err := client.Post("http://minicluster"+path, "text/plain", bytes.NewBufferString(body))
	if err != nil {
		return fmt.Errorf("no cluster runs in %s: %w", dir, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}
