# The toolchain works.
go test ./...
cat > slug.go <<'END'
// Package slug makes titles into what stands in an address.
package slug

import (
	"regexp"
	"strings"
)

var others = regexp.MustCompile("[^a-z0-9]+")

// Slug returns title in lower case, with a hyphen between two words.
func Slug(title string) string {
	return strings.Trim(others.ReplaceAllString(strings.ToLower(title), "-"), "-")
}
END
sed -i 's|^\t\t"a b": "a-b",|&\n\t\t"Twice, or more!": "twice-or-more",|' slug_test.go
gofmt -w slug_test.go
go vet ./...
go test ./...
