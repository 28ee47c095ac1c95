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

func controlPath(dir string) string { return filepath.Clean(dir) + controlSocket }

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
	for verb, do := range map[string]func(*child) error{"stop": s.stopOne, "start": s.startAgain, "restart": s.restart} {
		mux.HandleFunc("POST /"+verb+"/{name}", func(w http.ResponseWriter, r *http.Request) {
			o := order{func() error { return s.with(r.PathValue("name"), do) }, make(chan error, 1)}
			select {
			case s.orders <- o:
				answer(w, <-o.done)
			case <-r.Context().Done():
			}
		})
	}
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

// with does something to the component of a name.
func (s *supervisor) with(name string, do func(*child) error) error {
	if c := s.find(name); c != nil {
		return do(c)
	}
	var names []string
	for _, c := range s.children {
		names = append(names, c.name)
	}
	return fmt.Errorf("no component %q; there are %s", name, strings.Join(names, ", "))
}

// stopOne kills a component, which is no news then. One that is stopped stays so.
func (s *supervisor) stopOne(c *child) error {
	s.kill(c)
	return nil
}

// startAgain starts a component that was stopped, with the flags that it had; one that runs goes on.
func (s *supervisor) startAgain(c *child) error {
	if !c.ended() {
		return nil
	}
	s.children = slices.DeleteFunc(s.children, func(o *child) bool { return o == c })
	return s.start(c.name, c.program, c.flags...)
}

// restart kills a component and starts it again. Containers go on meanwhile: they are not the kubelet's.
func (s *supervisor) restart(c *child) error {
	s.kill(c)
	return s.startAgain(c)
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

// Change does a verb ("stop", "start", "restart") to one component of a running cluster.
func Change(dir, verb, name string) error {
	return call(dir, "/"+verb+"/"+url.PathEscape(name), "")
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
