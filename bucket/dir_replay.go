package bucket

import (
	"bytes"
	"context"
	"errors"
	"os"
)

// open lets the caller, which is the only one that has the journal in this process,
// take part. Who finds nobody there does what the journal says; on a full disk that is
// left to who writes.
func (j *dirJournal) open() (users *os.File, err error) {
	if err := j.begin(); err != nil {
		return nil, err
	}
	defer func() {
		if unlockErr := unlockFile(j.file); err == nil {
			err = unlockErr
		}
	}()
	probe, err := j.dir.root.OpenFile(usersName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	alone := lockFile(probe) == nil
	if err := probe.Close(); err != nil {
		return nil, err
	}
	if err := j.dir.sync("."); err != nil { // the journal's own name
		return nil, err
	}
	if alone {
		if err := j.begun(); err != nil && !full(err) {
			return nil, err
		}
	}
	users, err = j.dir.root.OpenFile(usersName, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := shareFile(users); err != nil {
		users.Close()
		return nil, err
	}
	return users, nil
}

// begun does what those left to do who had the journal before.
func (j *dirJournal) begun() error {
	if !j.broken() {
		return j.replay()
	}
	if err := j.empty(); err != nil {
		return err
	}
	return j.setState(journalDone)
}

// replay does what the journal says, after it has cut off what was not written to its
// end. The journal stays busy until all is done, so that nothing is forgotten before.
func (j *dirJournal) replay() error {
	records, err := j.recover()
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := j.dir.redo(r); err != nil {
			return err
		}
	}
	j.age(len(records) > 0)
	return j.setState(journalDone)
}

// recover returns what the journal says, which is durable then: who wrote it may have
// been killed before it was, and others will see what is done of it.
func (j *dirJournal) recover() ([]record, error) {
	records, end, err := readJournal(j.file)
	if err != nil {
		return nil, err
	}
	info, err := j.file.Stat()
	if err != nil {
		return nil, err
	}
	if len(records) > 0 && j.state == journalDone {
		if err := j.setState(journalBusy); err != nil {
			return nil, err
		}
	}
	if info.Size() > end {
		if err := j.file.Truncate(end); err != nil {
			return nil, err
		}
	}
	if info.Size() <= end && len(records) == 0 {
		return nil, nil
	}
	if err := j.fsync(); err != nil {
		return nil, errors.Join(err, j.setState(journalBroken))
	}
	return records, nil
}

// rewrite is replay that writes each file anew and syncs it, since those that are there
// may be lost: the system gives up what it could not write, and says so only once.
func (j *dirJournal) rewrite() error {
	records, err := j.recover()
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.kind == recordPut {
			err = j.dir.putAnew(r)
		} else {
			err = j.dir.redo(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// redo does again what r says.
func (d *Dir) redo(r record) error {
	switch r.kind {
	case recordGone:
		if err := d.erase(r.name); !missing(err) {
			return err
		}
	case recordPut:
		return d.redoPut(r)
	}
	return nil
}

func (d *Dir) redoPut(r record) (err error) {
	ctx, content, size := context.Background(), bytes.NewReader(r.data), int64(len(r.data))
	done, err := d.matches(ctx, content, size, r.name)
	if done || err != nil {
		return err
	}
	p := r.put()
	if p.same, err = d.matches(ctx, content, size, r.twin); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.discard(p.temp)) }()
	return d.place(p)
}

func (d *Dir) putAnew(r record) (err error) {
	p := r.put()
	defer func() { err = errors.Join(err, d.discard(p.temp)) }()
	if err := d.writeData(p); err != nil {
		return err
	}
	if err := d.syncFile(p.temp); err != nil {
		return err
	}
	return d.place(p)
}

func (r record) put() *put {
	return &put{Object: Object{Key: r.name, Size: int64(len(r.data))}, name: r.name, twin: r.twin, data: r.data}
}

// syncFile makes what is in the file called name durable.
func (d *Dir) syncFile(name string) error {
	f, err := d.openFile(name, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join((&dirFile{f, d, name}).Sync(), f.Close())
}
