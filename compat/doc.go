// Package compat tests this project against other implementations of the same
// specifications. It is a module of its own so that they are dependencies of
// nothing else.
package compat
