// Command toolbox is the program in the test pods: clients and servers for the protocols that a mesh carries, in one static binary. It
// needs nothing else in its image, and knows nothing of the mesh.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

func main() {
	commands := map[string]func(args []string) error{
		"pause": pause, "sleep": sleep, "http-server": httpServer, "tcp-echo": tcpEcho, "tcp-client": tcpClient,
		"curl": curl, "load": load, "lookup": lookup, "cat": cat, "env": env,
	}
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: toolbox %s [-h]\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "toolbox: %v\n", err)
		os.Exit(1)
	}
}
