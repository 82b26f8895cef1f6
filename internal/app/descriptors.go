package app

import "postern/internal/listen"

// otherDescriptors is how many file descriptors the process may need besides
// those of its listeners' connections: for relays, the store, and files.
const otherDescriptors = 256

// warnOfDescriptors says at the start what would otherwise be found out under
// load only. Where descriptors run out, slow connections make way for new ones
// as they do where MAX_CONNECTIONS is reached, but relays and the store cannot
// be connected to.
func (a *App) warnOfDescriptors() {
	limit, known := descriptorLimit()
	need := uint64(a.cfg.MaxConnections + listen.MetricsConnections + otherDescriptors)
	if known && limit < need {
		a.log.Warn().Uint64("limit", limit).Uint64("need", need).Int("max_connections", a.cfg.MaxConnections).
			Msg("the process may have too few files open (ulimit -n) for MAX_CONNECTIONS; raise the one or lower the other")
	}
}
