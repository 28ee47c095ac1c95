package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tokenLife is how long an account's token is good for; another call gives another one.
const tokenLife = 24 * time.Hour

// Account writes a kubeconfig for a ServiceAccount, named NAMESPACE/NAME, of a running cluster: what a pod of that
// account could do, the holder can. The token lies in a file of its own beside it, as in a pod. It returns the path.
func Account(dir, account string) (string, error) {
	namespace, name, ok := strings.Cut(account, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return "", fmt.Errorf("kubeconfig: %q; wanted NAMESPACE/SERVICEACCOUNT", account)
	}
	st, err := readState(dir)
	if err != nil {
		return "", err
	}
	a, err := newAPI(st.Server, st.PKI, "admin")
	if err != nil {
		return "", err
	}
	code, body, err := a.do(context.Background(), "POST", fmt.Sprintf("/api/v1/namespaces/%s/serviceaccounts/%s/token", namespace, name),
		"application/json", object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
			"spec": object{"expirationSeconds": int(tokenLife.Seconds())}})
	if err != nil {
		return "", err
	}
	if code == http.StatusNotFound {
		return "", fmt.Errorf("no ServiceAccount %s in namespace %s\nhint: apply the manifests that make it first", name, namespace)
	}
	var answer struct {
		Status struct{ Token string }
	}
	if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusCreated {
		return "", errors.Join(fmt.Errorf("token of %s: %d %s", account, code, body), err)
	}
	path := filepath.Join(filepath.Dir(st.Kubeconfig), "accounts", namespace+"."+name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	if err := replaceFile(path+".token", []byte(answer.Status.Token), 0o600); err != nil {
		return "", err
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: minicluster
clusters:
- name: minicluster
  cluster: {server: %q, certificate-authority: %q}
users:
- name: %q
  user: {tokenFile: %q}
contexts:
- name: minicluster
  context: {cluster: minicluster, user: %q}
`, st.Server, filepath.Join(st.PKI, "ca.crt"), account, path+".token", account)
	return path + ".kubeconfig", replaceFile(path+".kubeconfig", []byte(text), 0o600)
}

func readState(dir string) (st State, err error) {
	if dir == "" {
		return st, errors.New("--dir is missing; wanted the folder given to up")
	}
	b, err := os.ReadFile(statePath(dir))
	if err != nil {
		return st, fmt.Errorf("no cluster is ready in %s: %w", dir, err)
	}
	return st, json.Unmarshal(b, &st)
}
