package app

import (
	"fmt"
	"io"
	stdlog "log"

	"github.com/rs/zerolog"

	"postern/internal/config"
	"postern/internal/redact"
	"postern/internal/seal"
)

// newLog makes the service's log: JSON, without people's addresses unless the
// configuration wants them.
func newLog(cfg config.Config, sealer *seal.Sealer, logs io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.LogLevel)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("LOG_LEVEL: %w", err)
	}
	if !cfg.LogAddresses {
		key, err := sealer.Derive("addresses in the log")
		if err != nil {
			return zerolog.Nop(), fmt.Errorf("derive the key of addresses in the log: %w", err)
		}
		logs = redact.NewWriter(logs, key)
	}
	return zerolog.New(logs).Level(level).With().Timestamp().Logger(), nil
}

// standardLog is for what net/http has to say, such as handshakes that fail.
func standardLog(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(warnings{log}, "", 0)
}

type warnings struct{ log zerolog.Logger }

// Write logs one message.
func (w warnings) Write(message []byte) (int, error) {
	w.log.Warn().Str("from", "net/http").Msg(string(message[:max(0, len(message)-1)]))
	return len(message), nil
}
