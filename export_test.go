package oras

import "time"

// SetIngest lets little content go the way of much, with shorter pauses.
func SetIngest(piece int64, pause time.Duration) { ingestPiece, ingestPause = piece, pause }
