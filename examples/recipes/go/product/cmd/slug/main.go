// Command slug prints the slug of its argument.
package main

import (
	"fmt"
	"os"

	"example.com/slug"
)

func main() {
	fmt.Println(slug.Slug(os.Args[1]))
}
