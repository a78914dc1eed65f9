package main

import (
	"net"
	"os"
)

// notify tells systemd, if it started this program as a service of Type=notify, a
// state such as READY=1 (sd_notify(3)).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path) // one that begins with "@" is not a file
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte(state)); err != nil {
		c.Close()
		return err
	}
	return c.Close()
}
