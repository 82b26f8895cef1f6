package app

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// emfEvery is the resolution of a CloudWatch metric.
const emfEvery = time.Minute

// emfBacklog is the metric's name, and that of the member that has its value.
const emfBacklog = "Backlog"

// emf is what CloudWatch's embedded metric format wants of a log line: the
// member _aws says which of the line's members are metrics, so that a task needs
// neither a way to CloudWatch's own endpoint nor a right to use it.
type emf struct {
	Timestamp         int64 // milliseconds since 1970
	CloudWatchMetrics []emfDirective
}

type emfDirective struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []emfMetric
}

type emfMetric struct {
	Name string
	Unit string
}

// watchBacklog reports the backlog while the service runs, where that is
// wanted. wait returns when it has ended.
func (a *App) watchBacklog(ctx context.Context) (wait func()) {
	var reporting sync.WaitGroup
	if a.cfg.EMFNamespace != "" {
		reporting.Go(func() { reportBacklog(ctx, a.log, a.cfg.EMFNamespace, a.engine.Backlog) })
	}
	return reporting.Wait
}

// reportBacklog logs the task's part of the backlog every minute, until the
// context ends. The average over the tasks is the backlog for each running
// task, which autoscaling aims at: so an idle task reports its nought, and
// there is no dimension that would tell tasks apart.
func reportBacklog(ctx context.Context, log zerolog.Logger, namespace string, backlog func() float64) {
	ticker := time.NewTicker(emfEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-ticker.C:
			logBacklog(log, namespace, at, backlog())
		}
	}
}

// logBacklog logs one line, whatever LOG_LEVEL is.
func logBacklog(log zerolog.Logger, namespace string, at time.Time, backlog float64) {
	directive, err := json.Marshal(emf{
		Timestamp: at.UnixMilli(),
		CloudWatchMetrics: []emfDirective{{
			Namespace: namespace, Dimensions: [][]string{{}}, Metrics: []emfMetric{{Name: emfBacklog, Unit: "Count"}},
		}},
	})
	if err != nil {
		log.Error().Err(err).Msg("the backlog could not be reported")
		return
	}
	log.Log().RawJSON("_aws", directive).Float64(emfBacklog, backlog).Msg("backlog")
}
