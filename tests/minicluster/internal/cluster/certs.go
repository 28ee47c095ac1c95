package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// identity is what one certificate says about its holder.
type identity struct {
	user   string
	groups []string
	dns    []string
	ips    []net.IP
	server bool
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template(name)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, pemBlock("CERTIFICATE", der)}, nil
}

func template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}, nil
}

// issue makes a key and its certificate, both in PEM.
func (a *authority) issue(id identity) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t, err := template(id.user)
	if err != nil {
		return nil, nil, err
	}
	t.Subject.Organization = id.groups
	t.DNSNames, t.IPAddresses = id.dns, id.ips
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if id.server {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &k.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", kd), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pki is the folder of a cluster's keys and certificates, and the authority that signs them. The authorities' keys are
// in memory only.
type pki struct {
	dir string
	ca  *authority
}

func (p *pki) path(file string) string { return filepath.Join(p.dir, file) }

// put writes NAME.crt and NAME.key.
func (p *pki) put(name string, by *authority, id identity) error {
	crt, key, err := by.issue(id)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path(name+".crt"), crt, 0o600); err != nil {
		return err
	}
	return os.WriteFile(p.path(name+".key"), key, 0o600)
}

// newPKI makes the keys and certificates of the control plane. The requestheader authority is its own: were it the
// client authority, any client could pass itself off as the aggregator.
func newPKI(dir string, nodeIP net.IP) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := newAuthority("minicluster-ca")
	if err != nil {
		return nil, err
	}
	proxyCA, err := newAuthority("minicluster-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	p := &pki{dir, ca}
	sa, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	saKey, err := x509.MarshalPKCS8PrivateKey(sa)
	if err != nil {
		return nil, err
	}
	saPub, err := x509.MarshalPKIXPublicKey(&sa.PublicKey)
	if err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{
		"ca.crt": ca.pem, "front-proxy-ca.crt": proxyCA.pem,
		"sa.key": pemBlock("PRIVATE KEY", saKey), "sa.pub": pemBlock("PUBLIC KEY", saPub),
	} {
		if err := os.WriteFile(p.path(name), data, 0o600); err != nil {
			return nil, err
		}
	}
	loopback := net.IPv4(127, 0, 0, 1)
	for name, who := range map[string]struct {
		by *authority
		id identity
	}{
		"apiserver": {ca, identity{user: "kube-apiserver", server: true,
			dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			ips: []net.IP{loopback, net.ParseIP(firstServiceIP), nodeIP}}},
		// The name is the one that the aggregator checks.
		"metrics-server": {ca, identity{user: "metrics-server", server: true,
			dns: []string{"metrics-server.kube-system.svc", "localhost"}, ips: []net.IP{loopback}}},
		"admin":            {ca, identity{user: "admin", groups: []string{"system:masters"}}},
		"supervisor":       {ca, identity{user: "minicluster", groups: []string{"system:masters"}}},
		"apiserver-client": {ca, identity{user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}},
		// The names that their rights are bound to by default.
		"controller-manager":    {ca, identity{user: "system:kube-controller-manager", groups: []string{"system:masters"}}},
		"scheduler":             {ca, identity{user: "system:kube-scheduler", groups: []string{"system:masters"}}},
		"metrics-server-client": {ca, identity{user: "system:metrics-server", groups: []string{"system:masters"}}},
		"front-proxy":           {proxyCA, identity{user: "front-proxy-client"}},
	} {
		if err := p.put(name, who.by, who.id); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// putNode writes a kubelet's two certificates: one to be known to the API server by, one to serve with.
func (p *pki) putNode(name string, ip net.IP) error {
	id := identity{user: "system:node:" + name, groups: []string{"system:nodes"}}
	if err := p.put(name, p.ca, id); err != nil {
		return err
	}
	id.server, id.dns, id.ips = true, []string{name}, []net.IP{ip, net.IPv4(127, 0, 0, 1)}
	return p.put(name+"-serving", p.ca, id)
}

// writeKubeconfig writes a kubeconfig for the holder of one certificate. It needs no other file.
func (p *pki) writeKubeconfig(path, server, name string) error {
	field := func(file string) (string, error) {
		b, err := os.ReadFile(p.path(file))
		return base64.StdEncoding.EncodeToString(b), err
	}
	ca, err := field("ca.crt")
	if err != nil {
		return err
	}
	crt, err := field(name + ".crt")
	if err != nil {
		return err
	}
	key, err := field(name + ".key")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `apiVersion: v1
kind: Config
current-context: minicluster
clusters:
- name: minicluster
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: %s
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: minicluster
  context: {cluster: minicluster, user: %s}
`, server, ca, name, crt, key, name)
	return replaceFile(path, b.Bytes(), 0o600)
}

// replaceFile writes a file so that a reader sees all of it or none.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
