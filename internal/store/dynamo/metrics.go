package dynamo

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are what calls of DynamoDB take. The values of operation are those
// of the API that this package calls, those of table the four tables.
type metrics struct {
	calls     *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	throttles *prometheus.CounterVec
	capacity  *prometheus.CounterVec
	prefix    string // of the tables' names, which is no part of the label
}

func newMetrics(reg prometheus.Registerer, tablePrefix string) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		prefix: tablePrefix,
		calls: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_store_call_duration_seconds",
			Help:    "Time of a call of the store, retries included, by operation and outcome.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"operation", "outcome"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_store_retries_total",
			Help: "Further attempts of calls of DynamoDB, by operation.",
		}, []string{"operation"}),
		throttles: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_store_throttles_total",
			Help: "Attempts that DynamoDB has throttled, by operation.",
		}, []string{"operation"}),
		capacity: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_store_consumed_capacity_units_total",
			Help: "Read or write units that DynamoDB says it has charged, by operation and table, indexes included.",
		}, []string{"operation", "table"}),
	}
	// A counter that begins at 1 has no rate for its first event.
	for _, op := range []string{opGet, opPut, opUpdate, opDelete, opQuery, opScan, opBatchGet, opTransact} {
		m.retries.WithLabelValues(op)
		m.throttles.WithLabelValues(op)
	}
	return m
}

// install puts the metrics around every call of a client.
func (m *metrics) install(stack *middleware.Stack) error {
	of := operation{metrics: m, name: stack.ID()}
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("PosternMetrics", of.measure), middleware.Before)
}

// operation measures the calls of one operation.
type operation struct {
	*metrics

	name string
}

func (m operation) measure(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	middleware.InitializeOutput, middleware.Metadata, error,
) {
	askCapacity(in.Parameters)
	began := time.Now()
	out, metadata, err := next.HandleInitialize(ctx, in)
	m.calls.WithLabelValues(m.name, outcome(ctx, err)).Observe(time.Since(began).Seconds())
	m.attempts(metadata)
	if err == nil {
		for _, c := range consumed(out.Result) {
			table := strings.TrimPrefix(aws.ToString(c.TableName), m.prefix)
			m.capacity.WithLabelValues(m.name, table).Add(aws.ToFloat64(c.CapacityUnits))
		}
	}
	return out, metadata, err
}

func (m operation) attempts(metadata middleware.Metadata) {
	attempts, known := retry.GetAttemptResults(metadata)
	if !known {
		return
	}
	for _, a := range attempts.Results {
		if a.Retried {
			m.retries.WithLabelValues(m.name).Inc()
		}
		if isThrottle(a.Err) {
			m.throttles.WithLabelValues(m.name).Inc()
		}
	}
}

// isThrottle says whether an attempt met a limit. A transaction that is
// cancelled may have met one with any of its parts.
func isThrottle(err error) bool {
	if cancelled, is := errors.AsType[*types.TransactionCanceledException](err); is {
		for _, reason := range cancelled.CancellationReasons {
			if code := aws.ToString(reason.Code); code == "ThrottlingError" || code == "ProvisionedThroughputExceeded" {
				return true
			}
		}
		return false
	}
	throttles := retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}
	return err != nil && throttles.IsErrorThrottle(err) == aws.TrueTernary
}

// outcome keeps the label's values few. A condition that does not
// hold is refused, which is no fault.
func outcome(ctx context.Context, err error) string {
	_, condition := conditionFailed(err)
	switch {
	case err == nil:
		return "ok"
	case ctx.Err() != nil:
		return "cancelled"
	case condition, isType[*types.TransactionCanceledException](err):
		return "refused"
	case isThrottle(err):
		return "throttled"
	default:
		return "error"
	}
}

// askCapacity has the answer say what the call was charged, which is free.
func askCapacity(parameters any) {
	const total = types.ReturnConsumedCapacityTotal
	switch in := parameters.(type) {
	case *dynamodb.GetItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.PutItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.UpdateItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.DeleteItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.QueryInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.ScanInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.BatchGetItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.BatchWriteItemInput:
		in.ReturnConsumedCapacity = total
	case *dynamodb.TransactWriteItemsInput:
		in.ReturnConsumedCapacity = total
	}
}

// consumed is what the answer says, for each table.
func consumed(result any) []types.ConsumedCapacity {
	one := func(c *types.ConsumedCapacity) []types.ConsumedCapacity {
		if c == nil {
			return nil
		}
		return []types.ConsumedCapacity{*c}
	}
	switch out := result.(type) {
	case *dynamodb.GetItemOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.PutItemOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.UpdateItemOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.DeleteItemOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.QueryOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.ScanOutput:
		return one(out.ConsumedCapacity)
	case *dynamodb.BatchGetItemOutput:
		return out.ConsumedCapacity
	case *dynamodb.BatchWriteItemOutput:
		return out.ConsumedCapacity
	case *dynamodb.TransactWriteItemsOutput:
		return out.ConsumedCapacity
	default:
		return nil
	}
}
