package bucket

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// A record is what a journal says of one file: what it is from then on.
type record struct {
	kind recordKind
	name string // of the file
	data []byte // what is in it, of one that is put
	twin string // the file it may be another name of, of one that is put
}

type recordKind byte

const (
	recordPut  recordKind = iota // it has data
	recordKeep                   // it is what is on the disk
	recordGone                   // it is not there
)

// The journal begins with a page that says in its first byte in which state it is, and
// in its second eight which epoch. Behind it
// are groups of records, each whole or not there: the length of the records, the
// CRC-32C of the epoch and of them, and for each its kind, name, data and twin. An
// epoch ends when the journal is emptied; groups of another one are left over.
const (
	journalHead  = 4096
	epochAt      = 8
	groupHead    = 8
	maxJournaled = 64 << 10 // size in bytes of the largest content that is written to it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type journalState byte

const (
	journalDone   journalState = iota // all that is in it was done
	journalBusy                       // some of it may not have been
	journalBroken                     // nor may what was done be on the disk, as a sync failed
)

type epoch [8]byte

func newEpoch() (e epoch) {
	rand.Read(e[:]) // never fails
	return e
}

func (e epoch) sum(body []byte) uint32 {
	return crc32.Update(crc32.Checksum(e[:], castagnoli), castagnoli, body)
}

// appendGroup appends records as a group to b.
func (e epoch) appendGroup(b []byte, records []record) []byte {
	start := len(b)
	b = append(b, make([]byte, groupHead)...)
	for _, r := range records {
		b = append(b, byte(r.kind))
		for _, field := range [][]byte{[]byte(r.name), r.data, []byte(r.twin)} {
			b = binary.AppendUvarint(b, uint64(len(field)))
			b = append(b, field...)
		}
	}
	body := b[start+groupHead:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], e.sum(body))
	return b
}

var errRecords = errors.New("the journal was written by a later version of this program: use that")

// readGroups returns the records of all groups that b begins with, and how many bytes
// those are. A group that is whole and says what is not known is an error.
func (e epoch) readGroups(b []byte) (all []record, size int, err error) {
	for len(b)-size >= groupHead {
		head, body := b[size:size+groupHead], b[size+groupHead:]
		n := uint64(binary.BigEndian.Uint32(head))
		if n == 0 || n > uint64(len(body)) || e.sum(body[:n]) != binary.BigEndian.Uint32(head[4:]) {
			break
		}
		records, err := readRecords(body[:n])
		if err != nil {
			return nil, 0, err
		}
		all = append(all, records...)
		size += groupHead + int(n)
	}
	return all, size, nil
}

func readRecords(b []byte) (records []record, err error) {
	for len(b) > 0 {
		r := record{kind: recordKind(b[0])}
		if r.kind > recordGone {
			return nil, errRecords
		}
		b = b[1:]
		var fields [3][]byte
		for i := range fields {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return nil, errRecords
			}
			fields[i], b = b[size:size+int(n)], b[size+int(n):]
		}
		r.name, r.data, r.twin = string(fields[0]), fields[1], string(fields[2])
		records = append(records, r)
	}
	return records, nil
}

// lastOf returns the last record of each file, in the order of those.
func lastOf(records []record) []record {
	last := map[string]int{}
	for i, r := range records {
		last[r.name] = i
	}
	var kept []record
	for i, r := range records {
		if last[r.name] == i {
			kept = append(kept, r)
		}
	}
	return kept
}

// readJournal returns what the journal f says, the last of each file, and where that
// ends.
func readJournal(f *os.File) (records []record, end int64, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	if err != nil || len(b) <= journalHead {
		return nil, journalHead, err
	}
	records, n, err := epoch(b[epochAt:]).readGroups(b[journalHead:])
	return lastOf(records), journalHead + int64(n), err
}
