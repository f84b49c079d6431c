// Command images makes OCI archives from static binaries: nothing but the binary, the CA roots and the accounts of the users that containers
// run as. The same inputs give the same bytes. It builds no binary, and speaks to no registry.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	o, args := parseFlags()
	if err := run(o, args); err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

// options are what all images of one call share.
type options struct {
	out        string // folder of the archives
	file       string // the archive itself, where there is one image only
	version    string
	prefix     string
	arch       string
	user       string
	entrypoint string
	roots      string
	limit      int64 // bytes of an archive
}

func parseFlags() (options, []string) {
	var o options
	flag.StringVar(&o.out, "out", ".", "folder for the archives, each called NAME.tar")
	flag.StringVar(&o.file, "file", "", "path of the archive; for a single image, in place of -out")
	flag.StringVar(&o.version, "version", "dev", "the images' tag and version label")
	flag.StringVar(&o.prefix, "prefix", "heddle.local/", "what stands before an image's name: a registry, ending with a slash")
	flag.StringVar(&o.arch, "arch", "amd64", "the binaries' architecture: amd64 or arm64")
	flag.StringVar(&o.user, "user", "1337", "user and group that the container runs as, a number")
	flag.StringVar(&o.entrypoint, "entrypoint", "", "command and arguments, separated by commas (default: the first binary)")
	flag.StringVar(&o.roots, "roots", "/etc/ssl/certs/ca-certificates.crt", "CA roots to put into the image; empty for none")
	limit := flag.Int64("limit", 40, "largest permitted archive in MB")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: images [flags] NAME=[FILE:]BINARY[,[FILE:]BINARY...] ...\n\n"+
			"Makes PREFIX+NAME:VERSION with each BINARY as /FILE (default: the binary's base name).")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.limit = *limit * 1000 * 1000
	return o, flag.Args()
}

func run(o options, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("nothing to do: name an image, as in heddled=bin/heddled")
	}
	if o.file != "" && len(args) != 1 {
		return fmt.Errorf("-file makes one image, %d are asked for", len(args))
	}
	for _, arg := range args {
		image, err := parseImage(arg)
		if err != nil {
			return err
		}
		path := o.file
		if path == "" {
			path = filepath.Join(o.out, image.name+".tar")
		}
		size, err := write(o, image, path)
		if err != nil {
			return fmt.Errorf("making image %s: %w", image.name, err)
		}
		fmt.Printf("%s%s:%s %s %.1f MB %s\n", o.prefix, image.name, o.version, o.arch, float64(size)/1e6, path)
	}
	return nil
}

// image is one image to make.
type image struct {
	name     string
	binaries []binary
}

// binary is a file of the image: its name in the root folder, and where it comes from.
type binary struct{ name, path string }

// parseImage reads NAME=[FILE:]BINARY,...
func parseImage(arg string) (image, error) {
	name, list, ok := strings.Cut(arg, "=")
	if !ok || name == "" || list == "" {
		return image{}, fmt.Errorf("image %q: want NAME=[FILE:]BINARY", arg)
	}
	im := image{name: name}
	for _, text := range strings.Split(list, ",") {
		file, path, ok := strings.Cut(text, ":")
		if !ok {
			file, path = filepath.Base(text), text
		}
		if file == "" || path == "" || strings.Contains(file, "/") {
			return image{}, fmt.Errorf("image %q: %q does not name a binary", arg, text)
		}
		im.binaries = append(im.binaries, binary{file, path})
	}
	return im, nil
}
