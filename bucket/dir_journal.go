package bucket

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A dirJournal makes changes of a Dir durable at the cost of one sync for all that
// are under way at a moment. What is to be done is written to one file, that is
// synced, and only then it is done, without a sync of the files and folders it
// concerns: whoever opens the directory after a loss of power does it again. From
// time to time all of the file system is synced, and the journal is emptied.
//
// All processes that have the directory open write to the same journal, each
// while it has locked it and until it has done what it wrote, so that the last
// record of a file is what the file is. One that finds that another was killed
// meanwhile does first what that had written.
type dirJournal struct {
	dir *Dir
	// Of who leads:
	file  *os.File // nil until it could be opened
	state journalState
	epoch

	mu       sync.Mutex
	waiting  []*entry
	led      bool // somebody leads: writes for those who waited when it began
	unsynced bool // a record was written that need not be durable yet
	failed   bool // a sync of the file system did, which the system says only once
	emptying bool // somebody empties the journal, or will soon
	closed   bool
	timer    *time.Timer
	working  sync.WaitGroup // who empties it
}

// An entry is a change on its way through the journal.
type entry struct {
	records []record
	reads   []string // files that the change depends on, which no other may change meanwhile
	alone   string   // what no other in the same round may have as this, too
	lazy    bool     // need not be durable yet
	settle  bool     // all that was done before is to be durable without the journal

	check func() (bool, error) // whether to do it at all; may be nil
	apply func() error         // does it; may be nil

	err  error
	skip bool
	lead chan struct{} // tells it to lead
	done chan struct{} // closed when err is known
}

const (
	journalName = ".journal"
	usersName   = ".users"         // locked by who has the directory open
	journalFull = 16 << 20         // size in bytes from which the journal is emptied
	journalMost = 2 * journalFull  // above which it must be before anything else is done
	journalAge  = 10 * time.Second // after which it is, too
)

// do returns when e was done.
func (j *dirJournal) do(e *entry) error {
	e.lead, e.done = make(chan struct{}, 1), make(chan struct{})
	j.mu.Lock()
	j.waiting = append(j.waiting, e)
	if j.led {
		j.mu.Unlock()
		select {
		case <-e.done:
			return e.err
		case <-e.lead:
		}
	} else {
		j.led = true
		j.mu.Unlock()
	}
	round := j.take()
	err := j.run(round)
	j.next()
	for _, e := range round {
		if e.err == nil {
			e.err = err
		}
		close(e.done)
	}
	return e.err
}

// take returns those who wait, but for those that must come after another of them.
func (j *dirJournal) take() (round []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	written, read := map[string]bool{}, map[string]bool{}
	conflicts := func(e *entry) bool {
		if e.alone != "" && written[e.alone] {
			return true
		}
		for _, r := range e.records {
			if written[r.name] || read[r.name] {
				return true
			}
		}
		for _, name := range e.reads {
			if written[name] {
				return true
			}
		}
		return false
	}
	var left []*entry
	for _, e := range j.waiting {
		if conflicts(e) {
			left = append(left, e)
		} else {
			round = append(round, e)
		}
		for _, r := range e.records {
			written[r.name] = true
		}
		for _, name := range e.reads {
			read[name] = true
		}
		if e.alone != "" {
			written[e.alone] = true
		}
	}
	j.waiting = left
	return round
}

// next lets the first of those who wait lead.
func (j *dirJournal) next() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		j.led = false
		return
	}
	j.waiting[0].lead <- struct{}{}
}

// run does what the entries of round say. Its error is that of all of them.
func (j *dirJournal) run(round []*entry) (err error) {
	if err := j.begin(); err != nil {
		return err
	}
	defer func() {
		if endErr := unlockFile(j.file); err == nil {
			err = endErr
		}
	}()
	left, err := j.catchUp()
	if err != nil {
		return err
	}
	lazy := true
	var todo []*entry
	for _, e := range round {
		if left != nil && !e.deletes() {
			e.err = left
			continue
		}
		if e.check != nil {
			e.skip, e.err = e.check()
			if e.err != nil && left == nil && j.state != journalDone {
				return e.err // it could not empty the journal
			}
			if e.skip || e.err != nil {
				continue
			}
		}
		todo = append(todo, e)
		lazy = lazy && e.lazy
	}
	if left != nil {
		if err := j.append(todo, lazy); err != nil {
			return err
		}
		applyAll(todo)
		return nil
	}
	if todo, err = j.write(todo, lazy); err != nil {
		return err
	}
	failed := applyAll(todo)
	settle := slices.ContainsFunc(todo, func(e *entry) bool { return e.settle })
	if failed || settle { // what was written and not done must not be done by somebody later
		if err := j.empty(); err != nil {
			return err
		}
	}
	if err := j.setState(journalDone); err != nil {
		return err
	}
	j.age(len(todo) > 0 && !settle)
	return nil
}

// catchUp does what others wrote who were killed before they did it, and what must be
// done again because a sync failed. On a full disk it may have to leave that, and
// returns why: then something can only be deleted.
func (j *dirJournal) catchUp() (left, err error) {
	switch {
	case j.broken():
		return nil, j.empty()
	case j.state == journalBusy:
		if err := j.replay(); full(err) {
			return err, nil
		} else if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// broken reports whether a sync failed of which nobody has done again what it was for.
func (j *dirJournal) broken() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed || j.state == journalBroken
}

// applyAll does what entries say, and reports whether something could not be done.
func applyAll(entries []*entry) (failed bool) {
	var group sync.WaitGroup
	for i, e := range entries {
		if e.apply == nil {
			continue
		}
		if i == len(entries)-1 {
			e.err = e.apply()
			break
		}
		group.Go(func() { e.err = e.apply() })
	}
	group.Wait()
	for _, e := range entries {
		failed = failed || e.err != nil
	}
	return failed
}

// begin opens the journal, if it is not, and locks it.
func (j *dirJournal) begin() error {
	if j.file == nil {
		f, err := j.dir.root.OpenFile(journalName, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		j.file = f
	}
	if err := waitFile(j.file); err != nil {
		return err
	}
	var head [epochAt + len(epoch{})]byte
	if _, err := j.file.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return errors.Join(err, unlockFile(j.file))
	}
	j.state, j.epoch = journalState(head[0]), epoch(head[epochAt:])
	return nil
}

// setState tells all processes in which state the journal is.
func (j *dirJournal) setState(state journalState) error {
	if j.state == state {
		return nil
	}
	_, err := j.file.WriteAt([]byte{byte(state)}, 0)
	if err == nil {
		j.state = state
	}
	return err
}

// write writes the records of entries, durably unless lazy. It returns what is left
// to do: on a disk that is full to the last byte things can still be deleted.
func (j *dirJournal) write(entries []*entry, lazy bool) ([]*entry, error) {
	err := j.append(entries, lazy)
	if !full(err) {
		return entries, err
	}
	if err := j.empty(); err != nil { // which makes room
		return nil, err
	}
	if err = j.append(entries, lazy); !full(err) {
		return entries, err
	}
	var todo []*entry
	for _, e := range entries {
		if e.deletes() || len(e.records) == 0 {
			e.settle = true // instead of what could not be written
			todo = append(todo, e)
		} else {
			e.err = err
		}
	}
	return todo, nil
}

// deletes reports whether e makes room.
func (e *entry) deletes() bool {
	return len(e.records) > 0 && !slices.ContainsFunc(e.records, func(r record) bool { return r.kind != recordGone })
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// append writes the records of entries. With an error none of them is there, unless
// the journal says that it is broken.
func (j *dirJournal) append(entries []*entry, lazy bool) error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	end := max(info.Size(), journalHead)
	if end > journalMost && j.state == journalDone { // emptying it failed
		if err := j.empty(); err != nil {
			return err
		}
		end = journalHead
	}
	var b []byte
	for _, e := range entries {
		if len(e.records) > 0 {
			b = j.appendGroup(b, e.records)
		}
	}
	before := j.state
	if len(b) > 0 {
		if err := j.setState(journalBusy); err != nil {
			return err
		}
		if err = j.dir.doing("write", journalName); err == nil {
			_, err = j.file.WriteAt(b, end)
		}
		if err != nil {
			return j.takeBack(end, before, err)
		}
	}
	if !lazy {
		if err := j.fsync(); err != nil {
			// What was written before, and need not have been durable, may be lost
			// by that, too.
			return j.takeBack(end, journalBroken, err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsynced = lazy && (j.unsynced || len(b) > 0)
	return nil
}

// takeBack removes what was written from end on, since err kept it from being whole or
// durable. The journal is in state then.
func (j *dirJournal) takeBack(end int64, state journalState, err error) error {
	if cutErr := j.file.Truncate(end); cutErr != nil {
		err, state = errors.Join(err, cutErr), journalBroken
	}
	return errors.Join(err, j.setState(state))
}

func (j *dirJournal) fsync() error {
	if err := j.dir.doing("fsync", journalName); err != nil {
		return err
	}
	return j.file.Sync()
}

// syncAll makes all that was done durable. What the system could not write it tells
// once and may have given up: that is done again before the journal is emptied.
func (j *dirJournal) syncAll() error {
	err := j.dir.syncAll(j.file)
	if err != nil {
		j.mu.Lock()
		j.failed = true
		j.mu.Unlock()
	}
	return err
}

// empty makes all that was done durable, and forgets what was written: durably too,
// or what is written next might be found with some of it behind. Until that is sure
// the journal is busy.
func (j *dirJournal) empty() error {
	if j.broken() {
		if err := errors.Join(j.setState(journalBroken), j.rewrite()); err != nil {
			return err
		}
		j.mu.Lock()
		j.failed = false
		j.mu.Unlock()
	}
	if err := j.syncAll(); err != nil {
		return errors.Join(err, j.setState(journalBroken))
	}
	if err := j.dir.doing("truncate", journalName); err != nil {
		return err
	}
	info, err := j.file.Stat()
	if err != nil || info.Size() == 0 { // on a disk that has no room for a journal
		return err
	}
	if err := j.setState(journalBusy); err != nil {
		return err
	}
	next := newEpoch()
	if _, err := j.file.WriteAt(next[:], epochAt); err != nil {
		return err
	}
	j.epoch = next
	if err := j.file.Truncate(journalHead); err != nil {
		return err
	}
	if err := j.fsync(); err != nil {
		return errors.Join(err, j.setState(journalBroken))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsynced = false
	return nil
}

// age sees to it that the journal is emptied before it is too long or too old.
func (j *dirJournal) age(written bool) {
	info, err := j.file.Stat()
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed || j.emptying:
	case info.Size() > journalFull:
		j.emptying = true
		j.working.Go(j.settle)
	case written && j.timer == nil:
		j.timer = time.AfterFunc(journalAge, j.settleOld)
	}
}

// settleOld is settle of a journal that is not empty.
func (j *dirJournal) settleOld() {
	info, err := j.file.Stat()
	j.mu.Lock()
	j.timer = nil
	ours := err == nil && info.Size() > journalHead && !j.closed && !j.emptying
	if ours {
		j.emptying = true
		j.working.Go(j.settle)
	}
	j.mu.Unlock()
}

// settle empties the journal. Most is made durable before others have to wait. What
// fails is tried again.
func (j *dirJournal) settle() {
	if j.syncAll() == nil {
		j.do(&entry{settle: true})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.emptying = false
	if j.timer != nil {
		j.timer.Stop()
	}
	if !j.closed { // what was written meanwhile grows old, too
		j.timer = time.AfterFunc(journalAge, j.settleOld)
	}
}

// sync makes all records durable.
func (j *dirJournal) sync() error {
	j.mu.Lock()
	unsynced := j.unsynced
	j.mu.Unlock()
	if !unsynced {
		return nil
	}
	return j.do(&entry{})
}

// close empties the journal and lets go of it: what somebody does by hand to the files
// of a registry that has ended stays.
func (j *dirJournal) close() error {
	j.mu.Lock()
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.mu.Unlock()
	j.working.Wait()
	if j.file == nil {
		return nil
	}
	info, err := j.file.Stat()
	if err == nil && info.Size() > journalHead {
		err = j.do(&entry{settle: true})
	}
	return errors.Join(err, j.file.Close())
}
