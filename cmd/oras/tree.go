package main

import (
	"fmt"
	"io"
	"strings"
)

// A tree is lines of text, each below another.
type tree struct {
	label    string
	colour   colour // of the label
	children []*tree
}

// child returns the child with that label, which comes to be in that colour if need
// be.
func (t *tree) child(label string, colour colour) *tree {
	for _, c := range t.children {
		if c.label == label {
			return c
		}
	}
	c := &tree{label: label, colour: colour}
	t.children = append(t.children, c)
	return c
}

func (t *tree) print(w io.Writer) error {
	fmt.Fprintln(w, t.colour.paint(printable(t.label)))
	return t.printChildren(w, "")
}

func (t *tree) printChildren(w io.Writer, indent string) error {
	for i, c := range t.children {
		branch, below := "├── ", "│   "
		if i == len(t.children)-1 {
			branch, below = "└── ", "    "
		}
		// A label of several lines keeps to its place.
		label := strings.ReplaceAll(c.colour.paint(printable(c.label)), "\n", "\n"+indent+below)
		if _, err := fmt.Fprintln(w, indent+branch+label); err != nil {
			return err
		}
		if err := c.printChildren(w, indent+below); err != nil {
			return err
		}
	}
	return nil
}
