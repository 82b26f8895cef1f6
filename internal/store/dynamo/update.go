package dynamo

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// update is an update expression in the making, with its condition. Names and
// values stand behind placeholders throughout, so that any name will do.
type update struct {
	sets, removes, adds []string
	conditions          []string
	names               map[string]string
	values              item
}

func newUpdate() *update { return &update{names: map[string]string{}, values: item{}} }

// name gives the placeholder of an attribute's name.
func (u *update) name(attribute string) string {
	p := fmt.Sprintf("#%d", len(u.names))
	u.names[p] = attribute
	return p
}

// value gives the placeholder of a value.
func (u *update) value(v types.AttributeValue) string {
	p := fmt.Sprintf(":%d", len(u.values))
	u.values[p] = v
	return p
}

func (u *update) set(attribute string, v types.AttributeValue) {
	u.sets = append(u.sets, u.name(attribute)+"="+u.value(v))
}

// setOnce sets an attribute that is not there yet.
func (u *update) setOnce(attribute string, v types.AttributeValue) {
	name := u.name(attribute)
	u.sets = append(u.sets, fmt.Sprintf("%s=if_not_exists(%[1]s,%s)", name, u.value(v)))
}

func (u *update) remove(attribute string) { u.removes = append(u.removes, u.name(attribute)) }

// add counts up a number; one that is not there counts from 0.
func (u *update) add(attribute string, n int64) {
	u.adds = append(u.adds, u.name(attribute)+" "+u.value(num(n)))
}

// require adds a condition; all of them have to hold. In the format, %s
// stands for the attribute's placeholder and then the values'.
func (u *update) require(format, attribute string, values ...types.AttributeValue) {
	placeholders := []any{u.name(attribute)}
	for _, v := range values {
		placeholders = append(placeholders, u.value(v))
	}
	u.conditions = append(u.conditions, fmt.Sprintf(format, placeholders...))
}

func (u *update) expression() *string {
	var clauses []string
	for _, clause := range []struct {
		verb  string
		parts []string
	}{{"SET", u.sets}, {"REMOVE", u.removes}, {"ADD", u.adds}} {
		if len(clause.parts) > 0 {
			clauses = append(clauses, clause.verb+" "+strings.Join(clause.parts, ","))
		}
	}
	return aws.String(strings.Join(clauses, " "))
}

func (u *update) condition() *string {
	if len(u.conditions) == 0 {
		return nil
	}
	return aws.String(strings.Join(u.conditions, " AND "))
}

// given are the values; DynamoDB refuses an empty list of them.
func (u *update) given() item {
	if len(u.values) == 0 {
		return nil
	}
	return u.values
}

// input makes a single write, which gives the new item when it succeeds and
// the old one when its condition does not hold.
func (u *update) input(table string, key item) *dynamodb.UpdateItemInput {
	return &dynamodb.UpdateItemInput{
		TableName: aws.String(table), Key: key,
		UpdateExpression: u.expression(), ConditionExpression: u.condition(),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.given(),
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
}

// part makes a part of a transaction, which gives the old item when its
// condition does not hold.
func (u *update) part(table string, key item) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(table), Key: key,
		UpdateExpression: u.expression(), ConditionExpression: u.condition(),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.given(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

// checkPart makes a part of a transaction that writes nothing: the update's
// conditions alone.
func (u *update) checkPart(table string, key item) types.TransactWriteItem {
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: aws.String(table), Key: key, ConditionExpression: u.condition(),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.given(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

// put makes a single write that replaces an item, under the update's
// conditions.
func (u *update) put(table string, it item) *dynamodb.PutItemInput {
	return &dynamodb.PutItemInput{
		TableName: aws.String(table), Item: it, ConditionExpression: u.condition(),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.given(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
}

// putPart makes a part of a transaction that stores an item; with fresh, on
// the condition that there is none.
func putPart(table string, it item, fresh string) types.TransactWriteItem {
	put := &types.Put{TableName: aws.String(table), Item: it}
	if fresh != "" {
		put.ConditionExpression = aws.String("attribute_not_exists(" + fresh + ")")
		put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	return types.TransactWriteItem{Put: put}
}
