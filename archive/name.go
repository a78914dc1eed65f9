package archive

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// maxName is how long the name of an entry may be, in bytes.
const maxName = 4096

// CheckName reports why name, separated by slashes, cannot be the name of a file
// below some directory on this system: it is empty, absolute, has an element ..
// or . or an empty one, holds NUL, or, on Windows, a backslash, a colon, a device
// name or an element that Windows would alter.
func CheckName(name string) error { return checkName(name, runtime.GOOS == "windows") }

func checkName(name string, windows bool) error {
	if name == "" {
		return errors.New("empty name")
	}
	for e := range strings.SplitSeq(name, "/") {
		if err := checkElement(e, windows); err != nil {
			return err
		}
	}
	return nil
}

func checkElement(e string, windows bool) error {
	switch {
	case e == "" || e == "." || e == "..":
		return fmt.Errorf("element %q in the name", e)
	case strings.ContainsRune(e, 0):
		return errors.New("NUL in the name")
	case windows:
		return checkWindowsElement(e)
	}
	return nil
}

// checkWindowsElement refuses what Windows takes for something else than a file
// called e.
func checkWindowsElement(e string) error {
	if strings.ContainsAny(e, `<>:"\|?*`) || strings.ContainsFunc(e, func(r rune) bool { return r < ' ' }) {
		return errors.New("a character in the name that Windows does not allow")
	}
	if strings.HasSuffix(e, ".") || strings.HasSuffix(e, " ") {
		return errors.New("a dot or space at the end of the name, which Windows drops")
	}
	stem, _, _ := strings.Cut(e, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	if slices.Contains([]string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}, stem) {
		return fmt.Errorf("%q is a device on Windows", stem)
	}
	for _, device := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, device); ok && slices.Contains([]string{
			"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³",
		}, n) {
			return fmt.Errorf("%q is a device on Windows", stem)
		}
	}
	return nil
}

// elements splits a slash-separated name, leaving out what does not matter.
func elements(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(e string) bool { return e == "" || e == "." })
}

// relative returns what is left of name below prefix; of prefix itself, ".".
func relative(name, prefix string, windows bool) (string, error) {
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("name of %d bytes", len(name))
	}
	if strings.HasPrefix(name, "/") && !strings.HasPrefix(prefix, "/") {
		return "", errors.New("absolute name")
	}
	above, below := elements(prefix), elements(name)
	if len(below) < len(above) || !slices.Equal(below[:len(above)], above) || strings.HasPrefix(name, "/") != strings.HasPrefix(prefix, "/") {
		return "", fmt.Errorf("not below %q", prefix)
	}
	below = below[len(above):]
	if len(below) == 0 {
		return ".", nil
	}
	rel := strings.Join(below, "/")
	return rel, checkName(rel, windows)
}

// checkTarget reports why the symbolic link name may not lead to target: because
// that is, or might become, outside of the tree. It may go up first, not above the
// tree, and then only down. The directories above a link are real ones, so going
// up from there is what it seems to be; going up behind another element is not, as
// that may be a link itself. So wherever the links of a tree lead, by however many
// others, it is into the tree.
func checkTarget(name, target string, windows bool) error {
	if target == "" || strings.HasPrefix(target, "/") {
		return fmt.Errorf("link to %q", target)
	}
	depth := len(elements(name)) - 1
	down := false
	for _, e := range elements(target) {
		if e == ".." && !down && depth > 0 {
			depth--
			continue
		}
		down = true
		if e == ".." {
			return fmt.Errorf("link to %q, which may be outside", target)
		}
		if err := checkElement(e, windows); err != nil {
			return fmt.Errorf("link to %q: %w", target, err)
		}
	}
	return nil
}
