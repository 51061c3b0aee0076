package relay

import "time"

// hang bounds every wait: what takes so long will never come.
const hang = time.Minute
