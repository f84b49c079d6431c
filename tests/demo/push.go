package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushImages sends the images to the user's registry, with the user's own credentials.
func pushImages(ctx context.Context, p *play) error {
	for _, b := range binaries {
		if err := push(ctx, filepath.Join(outFolder, b.image+".tar"), p.image(b.image)); err != nil {
			return fmt.Errorf("pushing %s: %w", p.image(b.image), err)
		}
	}
	return nil
}

// push sends the image of an OCI archive to a registry.
func push(ctx context.Context, archive, to string) error {
	ref, err := name.ParseReference(to)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "heddle-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := unpack(archive, folder); err != nil {
		return fmt.Errorf("unpacking %s: %w", archive, err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	if n := len(manifest.Manifests); n != 1 {
		return fmt.Errorf("%s holds %d images, not one", archive, n)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	return remote.Write(ref, image, remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithContext(ctx))
}

// unpack writes the files of an archive into a folder, and none outside of it.
func unpack(archive, folder string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(f); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := root.MkdirAll(filepath.Dir(head.Name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(head.Name, content, 0o644); err != nil {
			return err
		}
	}
}
