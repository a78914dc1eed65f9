package bucket

// Fold lets d behave as on a file system to which "A" and "a" are one name.
func (d *Dir) Fold() *Dir {
	d.fold = true
	return d
}

// HashEvery lets r keep the hash of an upload in the bucket after so many bytes.
func (r *Registry) HashEvery(bytes int64) *Registry {
	r.hashes.interval = bytes
	return r
}
