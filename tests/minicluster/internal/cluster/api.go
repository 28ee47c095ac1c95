package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// object is any object of the API: the supervisor needs no client library, and its few objects no types.
type object = map[string]any

// api is a small JSON client for the cluster.
type api struct {
	base string
	http *http.Client
}

func newAPI(base, pki, user string) (*api, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, user+".crt"), filepath.Join(pki, user+".key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &api{base, &http.Client{
		Timeout: 15 * time.Second,
		// No Proxy: the cluster is on this machine, whatever the environment says.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}},
	}}, nil
}

func (a *api) do(ctx context.Context, method, path, contentType string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, r)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return resp.StatusCode, out, err
}

// ok tells whether a GET succeeds.
func (a *api) ok(ctx context.Context, path string) bool {
	code, _, err := a.do(ctx, "GET", path, "application/json", nil)
	return err == nil && code == http.StatusOK
}

// apply makes an object what is given (server-side apply).
func (a *api) apply(ctx context.Context, path string, o object) error {
	code, b, err := a.do(ctx, "PATCH", path+"?fieldManager=minicluster&force=true", "application/apply-patch+yaml", o)
	if err != nil {
		return err
	}
	if code >= 300 {
		return fmt.Errorf("apply %s: %d %s", path, code, b)
	}
	return nil
}

// nodeReady tells whether a node's condition Ready is True.
func (a *api) nodeReady(ctx context.Context, name string) bool {
	code, b, err := a.do(ctx, "GET", "/api/v1/nodes/"+name, "application/json", nil)
	if err != nil || code != http.StatusOK {
		return false
	}
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if json.Unmarshal(b, &node) != nil {
		return false
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// metricsObjects register metrics-server with the aggregator. The Service is an ExternalName: it is the one kind whose
// address the aggregator takes as it stands, so it may be loopback (an EndpointSlice may not).
func metricsObjects(ca []byte, port int) map[string]object {
	return map[string]object{
		"/api/v1/namespaces/kube-system/services/metrics-server": {
			"apiVersion": "v1", "kind": "Service",
			"metadata": object{"name": "metrics-server", "namespace": "kube-system"},
			"spec":     object{"type": "ExternalName", "externalName": "localhost"},
		},
		"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io": {
			"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
			"metadata": object{"name": "v1beta1.metrics.k8s.io"},
			"spec": object{
				"group": "metrics.k8s.io", "version": "v1beta1",
				"groupPriorityMinimum": 100, "versionPriority": 100,
				"caBundle": ca, // []byte: JSON encodes it as base64, which is what the field wants
				"service":  object{"namespace": "kube-system", "name": "metrics-server", "port": port},
			},
		},
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader": {
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"metadata": object{"name": "system:aggregated-metrics-reader", "labels": object{
				"rbac.authorization.k8s.io/aggregate-to-view":  "true",
				"rbac.authorization.k8s.io/aggregate-to-edit":  "true",
				"rbac.authorization.k8s.io/aggregate-to-admin": "true"}},
			"rules": []any{object{"apiGroups": []string{"metrics.k8s.io"}, "resources": []string{"pods", "nodes"},
				"verbs": []string{"get", "list", "watch"}}},
		},
	}
}
