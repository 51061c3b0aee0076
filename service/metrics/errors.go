package metrics

import "errors"

// errKind means that a row of the table has no kind.
var errKind = errors.New("metrics: no such kind")
