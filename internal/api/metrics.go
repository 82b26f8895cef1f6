package api

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the API's own.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	refused  *prometheus.CounterVec
}

// observation is a request that was answered.
type observation struct {
	method, route string
	status        int
	seconds       float64
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	m := &metrics{
		requests: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_http_requests_total",
			Help: "Requests to the API, by route, method and class of status.",
		}, []string{"route", "method", "status"}),
		duration: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postern_http_requests_in_flight",
			Help: "Requests to the API that are being answered.",
		}),
		refused: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_auth_refused_total",
			Help: "Requests to the API whose caller was refused, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range refusals {
		m.refused.WithLabelValues(string(reason)) // a nought before the first
	}
	return m
}

func (m *metrics) count(o observation) {
	class := strconv.Itoa(o.status/100) + "xx"
	m.requests.WithLabelValues(o.route, o.method, class).Inc()
	m.duration.WithLabelValues(o.route, o.method).Observe(o.seconds)
}
