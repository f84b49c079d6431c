package discovery

import (
	"maps"
	"slices"
	"time"
)

// subscription is what is known of one type, across streams.
type subscription struct {
	versions map[string]string    // accepted and in force
	asked    map[string]time.Time // named subscriptions: when each counts as absent; zero once it was answered
}

func newSubscription() *subscription {
	return &subscription{versions: map[string]string{}, asked: map[string]time.Time{}}
}

// reopen starts the answer times of all names anew: what was asked on a stream that broke was not answered.
func (s *subscription) reopen(now time.Time) {
	for name, deadline := range s.asked {
		if !deadline.IsZero() {
			s.asked[name] = now.Add(fetchTimeout)
		}
	}
}

// want makes names the subscribed ones and returns the difference.
func (s *subscription) want(names []string, now time.Time) (subscribe, unsubscribe []string) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
		if _, known := s.asked[name]; !known {
			s.asked[name] = now.Add(fetchTimeout)
			if _, held := s.versions[name]; held { // it came ahead of the question
				s.asked[name] = time.Time{}
			}
			subscribe = append(subscribe, name)
		}
	}
	for name := range s.asked {
		if !wanted[name] {
			delete(s.asked, name)
			delete(s.versions, name)
			unsubscribe = append(unsubscribe, name)
		}
	}
	slices.Sort(subscribe)
	slices.Sort(unsubscribe)
	return slices.Compact(subscribe), unsubscribe
}

// answered notes that the server spoke of name.
func (s *subscription) answered(name string) {
	if _, named := s.asked[name]; named {
		s.asked[name] = time.Time{}
	}
}

// overdue returns the names that were not answered in time, and counts them as answered.
func (s *subscription) overdue(now time.Time) []string {
	var late []string
	for name, deadline := range s.asked {
		if !deadline.IsZero() && !now.Before(deadline) {
			late = append(late, name)
			s.asked[name] = time.Time{}
		}
	}
	slices.Sort(late)
	return late
}

func (s *subscription) names() []string { return slices.Sorted(maps.Keys(s.asked)) }
