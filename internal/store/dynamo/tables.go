package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

// The tables' names behind the prefix, and the names by which they are keyed.
const (
	TableContacts   = "EmailContacts"
	TableCampaigns  = "EmailCampaigns"
	TableDeliveries = "EmailDeliveries"
	TableWork       = "EmailWork"

	// IndexDue is the sparse index of EmailWork: leases that are not closed,
	// by due time.
	IndexDue = "due"
	// TTLAttribute of EmailWork holds Unix seconds after which DynamoDB may
	// delete an item.
	TTLAttribute = "expires_at"
)

// howToMake ends each error about a table that is missing.
const howToMake = "make it with terraform apply, or for local use set CREATE_TABLES=true"

// readyWithin bounds the wait for a new table to become usable.
const readyWithin = 2 * time.Minute

// Tables defines the tables, as Open with CreateTables makes them and as
// infrastructure code has to. EmailWork needs TTL on TTLAttribute besides,
// which CreateTable cannot say.
func Tables(prefix string) []dynamodb.CreateTableInput {
	return []dynamodb.CreateTableInput{
		table(prefix+TableContacts, partition("email")),
		table(prefix+TableCampaigns, partition("campaign_id")),
		table(prefix+TableDeliveries, partition("chunk"), sortBy("i", types.ScalarAttributeTypeN)),
		withDueIndex(table(prefix+TableWork, partition("pk"), sortBy("sk", types.ScalarAttributeTypeS))),
	}
}

// keyPart is one attribute of a key.
type keyPart struct {
	name string
	kind types.KeyType
	of   types.ScalarAttributeType
}

func partition(name string) keyPart {
	return keyPart{name, types.KeyTypeHash, types.ScalarAttributeTypeS}
}

func sortBy(name string, of types.ScalarAttributeType) keyPart {
	return keyPart{name, types.KeyTypeRange, of}
}

func table(name string, key ...keyPart) dynamodb.CreateTableInput {
	schema, attributes := schemaOf(key)
	return dynamodb.CreateTableInput{
		TableName: aws.String(name), KeySchema: schema, AttributeDefinitions: attributes,
		BillingMode: types.BillingModePayPerRequest,
	}
}

func schemaOf(key []keyPart) ([]types.KeySchemaElement, []types.AttributeDefinition) {
	var schema []types.KeySchemaElement
	var attributes []types.AttributeDefinition
	for _, p := range key {
		schema = append(schema, types.KeySchemaElement{AttributeName: aws.String(p.name), KeyType: p.kind})
		attributes = append(attributes, types.AttributeDefinition{AttributeName: aws.String(p.name), AttributeType: p.of})
	}
	return schema, attributes
}

func withDueIndex(in dynamodb.CreateTableInput) dynamodb.CreateTableInput {
	schema, attributes := schemaOf([]keyPart{partition("due_shard"), sortBy("due_at", types.ScalarAttributeTypeN)})
	in.AttributeDefinitions = append(in.AttributeDefinitions, attributes...)
	in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
		IndexName: aws.String(IndexDue), KeySchema: schema,
		Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
	}}
	return in
}

// createTables makes what is missing and waits until all can be used. Several
// tasks may do it at once: whoever comes second finds the table there.
func (s *Store) createTables(ctx context.Context) error {
	definitions := Tables(s.prefix)
	for i := range definitions {
		if err := s.createTable(ctx, &definitions[i]); err != nil {
			return err
		}
	}
	for i := range definitions {
		if err := s.awaitTable(ctx, *definitions[i].TableName); err != nil {
			return err
		}
	}
	return s.enableTTL(ctx)
}

func (s *Store) createTable(ctx context.Context, in *dynamodb.CreateTableInput) error {
	_, err := s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: in.TableName})
	if err == nil {
		return nil
	}
	if !isType[*types.ResourceNotFoundException](err) {
		return call{"DescribeTable", *in.TableName}.fail(ctx, err)
	}
	_, err = s.db.CreateTable(ctx, in)
	if err != nil && !isType[*types.ResourceInUseException](err) {
		return call{"CreateTable", *in.TableName}.fail(ctx, err)
	}
	return nil
}

func (s *Store) awaitTable(ctx context.Context, name string) error {
	waiter := dynamodb.NewTableExistsWaiter(s.db, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, 2*time.Second
	})
	err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(name)}, readyWithin)
	if err != nil {
		return campaign.Wrap(campaign.CodeUnavailable, err, "DynamoDB table %s did not become active", name)
	}
	return nil
}

// enableTTL leaves it alone when it is on already: DynamoDB refuses to enable
// it twice, with the same error code as for nonsense, so after a refusal the
// state decides.
func (s *Store) enableTTL(ctx context.Context) error {
	if on, err := s.hasTTL(ctx); on || err != nil {
		return err
	}
	_, err := s.db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: aws.String(s.work),
		TimeToLiveSpecification: &types.TimeToLiveSpecification{
			AttributeName: aws.String(TTLAttribute), Enabled: aws.Bool(true),
		},
	})
	if err == nil {
		return nil
	}
	if on, again := s.hasTTL(ctx); on && again == nil {
		return nil
	}
	return call{"UpdateTimeToLive", s.work}.fail(ctx, err)
}

func (s *Store) hasTTL(ctx context.Context) (bool, error) {
	out, err := s.db.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(s.work)})
	if err != nil {
		return false, call{"DescribeTimeToLive", s.work}.fail(ctx, err)
	}
	status := out.TimeToLiveDescription.TimeToLiveStatus
	return status == types.TimeToLiveStatusEnabled || status == types.TimeToLiveStatusEnabling, nil
}

// Ping reads one key of each table, and of the index, that is not there. That
// needs no permission beyond those of daily work, and a table with another
// key is noticed.
func (s *Store) Ping(ctx context.Context) error {
	var missing []string
	for _, definition := range Tables(s.prefix) {
		err := s.probe(ctx, definition)
		if isType[*types.ResourceNotFoundException](err) {
			missing = append(missing, *definition.TableName)
		} else if err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return campaign.Errorf(campaign.CodeUnavailable, "DynamoDB has no table %s; %s", strings.Join(missing, ", "), howToMake)
	}
	_, err := s.queryDue(ctx, dueQuery{shard: "ping", now: time.UnixMilli(0), limit: 1})
	return probed(ctx, call{"Query", s.work + "/index/" + IndexDue}, err)
}

func (s *Store) probe(ctx context.Context, definition dynamodb.CreateTableInput) error {
	key := item{}
	for i, part := range definition.KeySchema {
		key[*part.AttributeName] = str("ping")
		if definition.AttributeDefinitions[i].AttributeType == types.ScalarAttributeTypeN {
			key[*part.AttributeName] = num(0)
		}
	}
	_, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: definition.TableName, Key: key})
	return probed(ctx, call{"GetItem", *definition.TableName}, err)
}

func probed(ctx context.Context, c call, err error) error {
	if err == nil {
		return nil
	}
	if isValidation(err) {
		return campaign.Wrap(campaign.CodeUnavailable, err,
			"DynamoDB table %s does not have the keys that Postern needs", c.table)
	}
	return c.fail(ctx, err)
}
