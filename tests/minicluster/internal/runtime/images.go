package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"minicluster/internal/script"
)

// Every image exists in the registry that there is not; it comes to the node with its first pull, unless a script lets
// the pull fail.

func imageID(name string) string {
	if strings.HasPrefix(name, "sha256:") {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// namedImage is the image under the name that the pod gives it: the kubelet creates containers by image id.
func namedImage(s *cri.ImageSpec) *cri.ImageSpec {
	if s.UserSpecifiedImage != "" {
		return &cri.ImageSpec{Image: s.UserSpecifiedImage}
	}
	return s
}

func image(name string) *cri.Image {
	return &cri.Image{Id: imageID(name), RepoTags: []string{name}, Size: 1 << 20, Spec: &cri.ImageSpec{Image: name}}
}

// ImageStatus tells the kubelet whether it has to pull.
func (r *Runtime) ImageStatus(_ context.Context, q *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := imageID(q.GetImage().GetImage())
	for name := range r.images {
		if imageID(name) == want {
			return &cri.ImageStatusResponse{Image: image(name)}, nil
		}
	}
	return &cri.ImageStatusResponse{}, nil
}

// ListImages shows what was pulled.
func (r *Runtime) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &cri.ListImagesResponse{}
	for name := range r.images {
		out.Images = append(out.Images, image(name))
	}
	return out, nil
}

// PullImage succeeds at once, or fails as a script of the pod says.
func (r *Runtime) PullImage(_ context.Context, q *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	name := q.GetImage().GetImage()
	r.mu.Lock()
	defer r.mu.Unlock()
	if text, fails := r.pullFails(q.GetSandboxConfig(), name); fails {
		return nil, status.Errorf(codes.NotFound, "failed to pull and unpack image %q: %s", name, text)
	}
	r.images[name] = true
	return &cri.PullImageResponse{ImageRef: imageID(name)}, nil
}

// pullFails asks the scripts of the pod that wants the image. The request names the pod but not the container, so the
// script of any of its containers may speak for an image. A script that cannot be read is told by CreateContainer.
func (r *Runtime) pullFails(cfg *cri.PodSandboxConfig, name string) (text string, fails bool) {
	var box *sandbox
	for _, b := range r.sandboxes {
		if b.ready && b.cfg.Metadata.GetUid() == cfg.GetMetadata().GetUid() {
			box = b
		}
	}
	if box == nil {
		return "", false
	}
	for key := range box.cfg.Annotations {
		container, ours := strings.CutPrefix(key, script.AnnotationPrefix)
		if !ours {
			continue
		}
		b, err := box.behaviour(container, 0)
		if err != nil || b.Pull == nil || b.Pull.Image != "" && b.Pull.Image != name {
			continue
		}
		if b.Pull.Fails < 0 || box.pulls[container] < b.Pull.Fails {
			box.pulls[container]++
			if b.Pull.Error == "" {
				return "not found", true
			}
			return b.Pull.Error, true
		}
	}
	return "", false
}

// RemoveImage is the kubelet's garbage collection of images.
func (r *Runtime) RemoveImage(_ context.Context, q *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := imageID(q.GetImage().GetImage())
	for name := range r.images {
		if imageID(name) == gone {
			delete(r.images, name)
		}
	}
	return &cri.RemoveImageResponse{}, nil
}

// ImageFsInfo is a file system that is as good as empty, so that nothing is ever evicted for it.
func (r *Runtime) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	u := []*cri.FilesystemUsage{{Timestamp: now().UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes: value(1 << 20), InodesUsed: value(1)}}
	return &cri.ImageFsInfoResponse{ImageFilesystems: u, ContainerFilesystems: u}, nil
}
