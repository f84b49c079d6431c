package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// The mesh that translation is measured with, and what it may take.
const (
	coreServices = 10_000
	coreRoutes   = 5_000 // and as many DestinationRules
	coreAll      = 250 * time.Millisecond
	coreChange   = 25 * time.Millisecond
	coreRounds   = 45 // more than the first collection of garbage, which follows the translation of everything, is beside
)

// coreFigures are medians: of a translation of everything, and of one after a change of one object, by kind.
type coreFigures struct {
	all    time.Duration
	change [3]time.Duration
}

// coreKinds are what is changed.
func coreKinds() [3]string { return [3]string{"Service", "VirtualService", "DestinationRule"} }

// measureCore translates in this process.
func measureCore() (coreFigures, error) {
	in, err := source.FromYAML([]byte(coreMesh(coreServices, coreRoutes)))
	if err != nil {
		return coreFigures{}, fmt.Errorf("reading the mesh: %w", err)
	}
	var out coreFigures
	out.all = medianOf(func(int) { translate.Translate(in, nil) })
	for i, kind := range coreKinds() {
		memo := translate.NewMemo()
		translate.Translate(in, memo)
		out.change[i] = medianOf(func(round int) {
			alter(in, kind, round)
			translate.Translate(in, memo)
		})
	}
	return out, nil
}

func medianOf(do func(round int)) time.Duration {
	took := make([]time.Duration, coreRounds)
	for round := range took {
		began := time.Now()
		do(round)
		took[round] = time.Since(began)
	}
	slices.Sort(took)
	return took[coreRounds/2]
}

// alter has one object of a kind mean something else. Lists and objects that were handed over are never changed.
func alter(in *inputs.Inputs, kind string, round int) {
	switch kind {
	case "Service":
		in.Services = replaced(in.Services, func(s *corev1.Service) {
			s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: int32(1000 + round)}}
		})
	case "VirtualService":
		in.VirtualServices = replaced(in.VirtualServices, func(o *inputs.VirtualService) {
			o.Spec = proto.CloneOf(o.Spec)
			o.Spec.Http[1].Timeout = durationpb.New(time.Duration(1+round) * time.Second)
		})
	case "DestinationRule":
		in.DestinationRules = replaced(in.DestinationRules, func(o *inputs.DestinationRule) {
			o.Spec = proto.CloneOf(o.Spec)
			o.Spec.TrafficPolicy = &networking.TrafficPolicy{ConnectionPool: &networking.ConnectionPoolSettings{
				Tcp: &networking.ConnectionPoolSettings_TCPSettings{MaxConnections: int32(1 + round)}}}
		})
	}
}

func replaced[T any](list []*T, change func(*T)) []*T {
	list = slices.Clone(list)
	again := *list[len(list)/2]
	change(&again)
	list[len(list)/2] = &again
	return list
}

// coreMesh is services of two ports, and routes and rules with two subsets for the first of them.
func coreMesh(services, routes int) string {
	var text strings.Builder
	for i := range services {
		fmt.Fprintf(&text, `---
{apiVersion: v1, kind: Service, metadata: {name: s%[1]d, namespace: n%[2]d}, spec: {clusterIP: 10.%[3]d.%[4]d.%[5]d, selector: {app: s%[1]d},
 ports: [{port: 80, name: http, targetPort: 8080}, {port: 90, name: grpc-api}]}}
`, i, i%100, i>>16, i>>8&255, i&255)
	}
	for i := range routes {
		fmt.Fprintf(&text, `---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r%[1]d, namespace: n%[2]d, generation: 1}, spec: {hosts: [s%[1]d], http: [
 {match: [{headers: {x-user: {exact: a}}, uri: {prefix: /api}}], retries: {attempts: 3, retryOn: 5xx}, route: [{destination: {host: s%[1]d, subset: v2}}]},
 {timeout: 5s, route: [{destination: {host: s%[1]d, subset: v1}, weight: 90}, {destination: {host: s%[1]d, subset: v2}, weight: 10}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d%[1]d, namespace: n%[2]d, generation: 1},
 spec: {host: s%[1]d, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}
`, i, i%100)
	}
	return text.String()
}

// table is how translation did, and its musts.
func (f coreFigures) table(v *verdict) table {
	t := table{title: fmt.Sprintf("Translation alone: %d services, %d VirtualServices, %d DestinationRules, in this process", coreServices, coreRoutes, coreRoutes),
		head: []string{"", "median", "must", "holds"}}
	add := func(what string, took, most time.Duration) {
		says := "no"
		if took <= most {
			says = "yes"
		}
		v.must(took <= most)
		t.rows = append(t.rows, []string{what, took.Round(100 * time.Microsecond).String(), "≤ " + most.String(), says})
	}
	add("everything", f.all, coreAll)
	for i, kind := range coreKinds() {
		add("one "+kind+" changed", f.change[i], coreChange)
	}
	return t
}

// table is rows of text with a title.
type table struct {
	title string
	head  []string
	rows  [][]string
	notes []string
}

// print writes the table as a page has it.
func (t table) print(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat(" --- |", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	for _, note := range t.notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}
