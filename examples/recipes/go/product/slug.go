// Package slug makes titles into what stands in an address.
package slug

import "strings"

// Slug returns title with hyphens between its words.
func Slug(title string) string {
	return strings.ReplaceAll(title, " ", "-")
}
