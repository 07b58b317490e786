package slug

import "testing"

func TestSlug(t *testing.T) {
	for title, expected := range map[string]string{
		"a b": "a-b",
	} {
		if got := Slug(title); got != expected {
			t.Errorf("%q: %q, not %q", title, got, expected)
		}
	}
}
