package bucket

// Fold lets d behave as on a file system to which "A" and "a" are one name.
func (d *Dir) Fold() *Dir {
	d.fold = true
	return d
}
