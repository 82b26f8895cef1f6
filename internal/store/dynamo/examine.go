package dynamo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"postern/internal/store"
)

// examineAttempts is how often a call is tried in an examination: often enough
// for a request that was lost, seldom enough for somebody who waits.
const examineAttempts = 2

// Examine tries what the store needs: its server's name, the network, the
// credentials, and each call that it makes of each table, writes with a
// condition that cannot hold. It changes nothing. It gives the store where no
// trial has a fault; nil otherwise. The caller closes it.
func Examine(ctx context.Context, c Config) (*Store, []store.Trial) {
	s, err := attach(ctx, c)
	if err != nil {
		return nil, []store.Trial{{Name: "configuration", Detail: err.Error(), Fault: store.FaultCredentials}}
	}
	s.db = dynamodb.New(s.db.Options(), func(o *dynamodb.Options) {
		o.Retryer = retry.AddWithMaxAttempts(newRetryer(), examineAttempts)
	})
	var trials []store.Trial
	for _, step := range s.trials() {
		began := time.Now()
		detail, fault := step.try(ctx)
		trials = append(trials, store.Trial{Name: step.name, Took: time.Since(began), Detail: detail, Fault: fault})
		if fault == store.FaultUnresolved || fault == store.FaultUnreachable || fault == store.FaultCredentials {
			break // whatever comes behind it would say the same, after as long a wait
		}
	}
	for _, t := range trials {
		if t.Fault != "" {
			_ = s.Close()
			return nil, trials
		}
	}
	return s, trials
}

type trial struct {
	name string
	try  func(context.Context) (detail string, fault store.Fault)
}

func (s *Store) trials() []trial {
	all := []trial{
		{"endpoint", s.tryEndpoint},
		{"network", s.tryNetwork},
		{"credentials", s.tryCredentials},
	}
	for _, definition := range Tables(s.prefix) {
		all = append(all, trial{"table " + *definition.TableName, func(ctx context.Context) (string, store.Fault) {
			return s.tryTable(ctx, definition)
		}})
	}
	return append(all, trial{"read", s.tryRead})
}

// Endpoint is the base URL of the DynamoDB that the store uses.
func (s *Store) Endpoint(ctx context.Context) (*url.URL, error) {
	o := s.db.Options()
	found, err := o.EndpointResolverV2.ResolveEndpoint(ctx, dynamodb.EndpointParameters{
		Region: aws.String(o.Region), Endpoint: o.BaseEndpoint,
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
	})
	return &found.URI, err
}

func (s *Store) tryEndpoint(ctx context.Context) (string, store.Fault) {
	endpoint, err := s.Endpoint(ctx)
	if err != nil {
		return err.Error(), store.FaultUnresolved
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", endpoint.Hostname())
	if err != nil {
		return fmt.Sprintf("%s: %s", endpoint, err), store.FaultUnresolved
	}
	return fmt.Sprintf("%s has %s", endpoint, addressed(found)), ""
}

// addressed names addresses and what they are: a gateway endpoint of a VPC
// leaves them public, an interface endpoint makes them private.
func addressed(found []netip.Addr) string {
	parts := make([]string, len(found))
	for i, addr := range found {
		addr = addr.Unmap()
		kind := "public"
		if addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
			kind = "private"
		}
		parts[i] = addr.String() + " (" + kind + ")"
	}
	return strings.Join(parts, ", ")
}

func (s *Store) tryNetwork(ctx context.Context) (string, store.Fault) {
	endpoint, err := s.Endpoint(ctx)
	if err != nil {
		return err.Error(), store.FaultUnresolved
	}
	port := endpoint.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[endpoint.Scheme]
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(endpoint.Hostname(), port))
	if err != nil {
		return err.Error(), store.FaultUnreachable
	}
	defer func() { _ = conn.Close() }()
	return "connected to " + conn.RemoteAddr().String(), ""
}

func (s *Store) tryCredentials(ctx context.Context) (string, store.Fault) {
	found, err := s.db.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return err.Error(), store.FaultCredentials
	}
	return "from " + found.Source, ""
}

// tryTable tries each call that the service makes of a table, and names those
// that are not possible.
func (s *Store) tryTable(ctx context.Context, definition dynamodb.CreateTableInput) (string, store.Fault) {
	name := *definition.TableName
	short := strings.TrimPrefix(name, s.prefix)
	var done, refused []string
	for _, action := range Actions()[short] {
		fault, detail := faultOf(ctx, s.attempt(ctx, action, definition))
		switch fault {
		case "":
			done = append(done, action)
		case store.FaultDenied:
			refused = append(refused, action+" ("+detail+")")
		default:
			return action + ": " + detail, fault
		}
	}
	if len(refused) > 0 {
		return "not allowed: " + strings.Join(refused, "; "), store.FaultDenied
	}
	return "has the keys that are needed, and allows " + strings.Join(done, ", "), ""
}

// Actions are what the service does with each table, by its name without the
// prefix, as IAM calls them; an index's stand behind a slash. A policy has to
// allow just these.
func Actions() map[string][]string {
	return map[string][]string{
		TableContacts:   {"GetItem", "BatchGetItem", "Scan", "PutItem", "UpdateItem", "DeleteItem"},
		TableCampaigns:  {"GetItem", "BatchGetItem", "PutItem", "UpdateItem", "ConditionCheckItem"},
		TableDeliveries: {"GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"},
		TableWork:       {"GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem", IndexDue + "/Query"},
	}
}

// never is a condition that no item meets.
func never(key string) (*string, map[string]string) {
	return aws.String("attribute_exists(#k) AND attribute_not_exists(#k)"), map[string]string{"#k": key}
}

// attempt makes one call in a way that changes nothing. A condition that did
// not hold means that the call is allowed.
func (s *Store) attempt(ctx context.Context, action string, definition dynamodb.CreateTableInput) (err error) {
	name, key := definition.TableName, nobodysKey(definition)
	first := *definition.KeySchema[0].AttributeName
	condition, names := never(first)
	switch action {
	case opGet:
		_, err = s.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: name, Key: key})
	case opBatchGet:
		_, err = s.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{*name: {Keys: []map[string]types.AttributeValue{key}}},
		})
	case opQuery:
		_, err = s.db.Query(ctx, &dynamodb.QueryInput{
			TableName: name, KeyConditionExpression: aws.String("#k=:k"), Limit: aws.Int32(1),
			ExpressionAttributeNames: names, ExpressionAttributeValues: item{":k": key[first]},
		})
	case IndexDue + "/" + opQuery:
		_, err = s.queryDue(ctx, dueQuery{shard: nobody, now: time.UnixMilli(0), limit: 1})
	case opScan:
		_, err = s.db.Scan(ctx, &dynamodb.ScanInput{TableName: name, Limit: aws.Int32(1), Select: types.SelectCount})
	case opPut:
		_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: name, Item: key, ConditionExpression: condition, ExpressionAttributeNames: names,
		})
	case opUpdate:
		_, err = s.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: name, Key: key, ConditionExpression: condition, ExpressionAttributeNames: names,
		})
	case opDelete:
		_, err = s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: name, Key: key, ConditionExpression: condition, ExpressionAttributeNames: names,
		})
	default: // ConditionCheckItem, which is no call of its own
		_, err = s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{
			ConditionCheck: &types.ConditionCheck{
				TableName: name, Key: key, ConditionExpression: condition, ExpressionAttributeNames: names,
			},
		}}})
	}
	return err
}

// nobody is a key under which nothing is kept.
const nobody = "doctor"

func nobodysKey(definition dynamodb.CreateTableInput) item {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range definition.AttributeDefinitions {
		kinds[*a.AttributeName] = a.AttributeType
	}
	key := item{}
	for _, part := range definition.KeySchema {
		key[*part.AttributeName] = str(nobody)
		if kinds[*part.AttributeName] == types.ScalarAttributeTypeN {
			key[*part.AttributeName] = num(0)
		}
	}
	return key
}

func (s *Store) tryRead(ctx context.Context) (string, store.Fault) {
	_, err := s.Signal(ctx)
	if fault, detail := faultOf(ctx, err); fault != "" {
		return detail, fault
	}
	return "one consistent read of a small item", ""
}

// faultOf says what kind of fault an error is, "" for none, and what AWS says
// of it.
func faultOf(ctx context.Context, err error) (store.Fault, string) {
	if err == nil || refusedByCondition(err) {
		return "", ""
	}
	api, is := errors.AsType[smithy.APIError](err)
	if !is || ctx.Err() != nil {
		return store.FaultUnreachable, err.Error()
	}
	detail := api.ErrorCode() + ": " + api.ErrorMessage()
	switch api.ErrorCode() {
	case codeAccessDenied:
		return store.FaultDenied, detail
	case codeExpiredToken, codeBadToken, codeBadSignature, codeNoCredentials, codeIncompleteSign:
		return store.FaultCredentials, detail
	case codeValidation:
		return store.FaultDamaged, detail
	}
	if isType[*types.ResourceNotFoundException](err) {
		return store.FaultMissing, "there is no such table; " + howToMake
	}
	return store.FaultBusy, detail
}

// refusedByCondition says whether a write was stopped by never alone.
func refusedByCondition(err error) bool {
	if _, failed := conditionFailed(err); failed {
		return true
	}
	cancelled, is := errors.AsType[*types.TransactionCanceledException](err)
	if !is {
		return false
	}
	refused, _ := reasons(cancelled)
	return len(refused) > 0
}
