//go:build !linux

package main

import "errors"

func cpuSeconds() (float64, error)      { return 0, errors.ErrUnsupported }
func residentBytes() (float64, error)   { return 0, errors.ErrUnsupported }
func openDescriptors() (float64, error) { return 0, errors.ErrUnsupported }
func maxDescriptors() (float64, error)  { return 0, errors.ErrUnsupported }
