package dynamo

import (
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is a DynamoDB item, or a part of one.
type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func boolean(b bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: b} }

// bin is an empty value for nil, which the SDK would not send at all.
func bin(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

func num[T int | int64](n T) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(int64(n), 10)}
}

func strs(list []string) types.AttributeValue {
	values := make([]types.AttributeValue, len(list))
	for i, s := range list {
		values[i] = str(s)
	}
	return &types.AttributeValueMemberL{Value: values}
}

// when is a time as people and older programs read it: RFC 3339 text in UTC.
func when(t time.Time) types.AttributeValue { return str(t.UTC().Format(time.RFC3339Nano)) }

// millis is a time in the compact form of work items: Unix milliseconds.
func millis(t time.Time) types.AttributeValue { return num(t.UnixMilli()) }

// putWhen leaves the zero time out.
func putWhen(it item, name string, t time.Time) {
	if !t.IsZero() {
		it[name] = when(t)
	}
}

// putStr leaves "" out.
func putStr(it item, name, s string) {
	if s != "" {
		it[name] = str(s)
	}
}

// text reads a string, or a number as its digits; "" for anything else.
func text(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberBOOL:
		return strconv.FormatBool(v.Value)
	}
	return ""
}

// integer reads a number, also one with a fraction or in a string; 0 for
// anything else.
func integer(v types.AttributeValue) int64 {
	s := text(v)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= math.MaxInt64 {
		return 0
	}
	return int64(f)
}

func octets(v types.AttributeValue) []byte {
	if b, is := v.(*types.AttributeValueMemberB); is {
		return b.Value
	}
	return nil
}

func truth(v types.AttributeValue) bool {
	b, is := v.(*types.AttributeValueMemberBOOL)
	return is && b.Value
}

func members(v types.AttributeValue) item {
	if m, is := v.(*types.AttributeValueMemberM); is {
		return m.Value
	}
	return nil
}

func elements(v types.AttributeValue) []types.AttributeValue {
	if l, is := v.(*types.AttributeValueMemberL); is {
		return l.Value
	}
	return nil
}

// texts reads a list or a set of strings.
func texts(v types.AttributeValue) []string {
	if set, is := v.(*types.AttributeValueMemberSS); is {
		return set.Value
	}
	var list []string
	for _, e := range elements(v) {
		list = append(list, text(e))
	}
	return list
}

// fromMillis reads what millis made; zero where there is none.
func fromMillis(v types.AttributeValue) time.Time {
	if v == nil {
		return time.Time{}
	}
	return time.UnixMilli(integer(v)).UTC()
}

// timeLayouts are the forms in which programs before Postern wrote times. The
// ones without a zone are taken as UTC.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", time.DateOnly,
}

// moment reads a time in any form that a contacts table may hold: text, or a
// number of seconds or milliseconds since 1970. Zero for anything else.
func moment(v types.AttributeValue) time.Time {
	s := text(v)
	if s == "" {
		return time.Time{}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return fromUnix(f)
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// fromUnix takes numbers above what seconds reach in the year 5138 as
// milliseconds.
func fromUnix(f float64) time.Time {
	const largestSeconds = 1e11
	if math.IsNaN(f) || math.Abs(f) > 1e15 {
		return time.Time{}
	}
	if math.Abs(f) < largestSeconds {
		f *= 1000
	}
	return time.UnixMilli(int64(math.Round(f))).UTC()
}
